package kafka

import (
	"slices"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A part is a partition of a consumer: one that its group has given it, or that it has chosen. The
// consumer's lock guards it.
type part struct {
	at ropewalk.TopicPartition
	// assigned: it is read. A group may have given a partition that the program does not read.
	assigned bool
	paused   bool
	// fresh: its group has just given it, and knows where it begins. flowing: the member reads it.
	fresh, flowing bool
	// pending: where it begins is to be found yet, as want says; told is what has gone wrong with
	// that.
	pending bool
	want    Offset
	told    ErrorCode
	// mark is its beginning, as it would be committed: it tells this time that the consumer has it
	// from others. It is zero for one that was chosen.
	mark ropewalk.CommittedOffset
	// lost: it is not the consumer's any more, and nothing of it can be committed.
	lost bool
	// given is the offset that it was assigned with. from is where its reader begins, or where one is
	// to that there is none of while it is paused.
	given, from Offset
	// next is the next offset that is handed out, once that is known (from 0); handed: a message
	// was.
	next   int64
	handed bool
	// held is what has come since it was paused, as long as holds says that it is kept.
	held      []*ropewalk.Record
	heldBytes int
	holds     bool
	// stored is what is to be committed, committed what was, if they are there; before is what was
	// stored before the message that was handed out last.
	stored    *ropewalk.CommittedOffset
	before    ropewalk.CommittedOffset
	committed int64
	// end is the offset at which its end was told last.
	end int64
	// reader reads it, where the program has chosen it, and topicID is that of what it has read.
	reader  *partReader
	topicID string
}

func newPart(at ropewalk.TopicPartition) *part {
	return &part{at: at, given: OffsetInvalid, next: -1, committed: -1, end: -1}
}

// reads reports whether messages of it are handed out.
func (p *part) reads() bool { return p.assigned && !p.paused && !p.pending }

// isOf reports whether an offset is of this time that the consumer has the partition.
func (p *part) isOf(o ropewalk.CommittedOffset) bool { return o == p.ofNow(o) }

// ofNow has an offset count for this time that the consumer has the partition, and for no other.
func (p *part) ofNow(o ropewalk.CommittedOffset) ropewalk.CommittedOffset {
	now := p.mark
	if now.Topic == "" {
		return o
	}
	now.Offset, now.Metadata = o.Offset, o.Metadata
	return now
}

func (p *part) store(offset ropewalk.CommittedOffset) {
	if p.before = (ropewalk.CommittedOffset{}); p.stored != nil {
		p.before = *p.stored
	}
	p.stored = &offset
}

// unstore has it be as before a message was handed out that nobody got.
func (p *part) unstore() {
	if p.stored = nil; p.before.Topic != "" {
		before := p.before
		p.stored = &before
	}
}

// uncommitted is what is stored and not committed yet.
func (p *part) uncommitted() (ropewalk.CommittedOffset, bool) {
	if p.stored == nil || p.stored.Offset == p.committed {
		return ropewalk.CommittedOffset{}, false
	}
	return *p.stored, true
}

// sortedParts are parts in the order of topics and partitions.
func sortedParts(parts map[ropewalk.TopicPartition]*part) []*part {
	list := make([]*part, 0, len(parts))
	for _, p := range parts {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *part) int {
		switch {
		case a.at.Topic != b.at.Topic && a.at.Topic < b.at.Topic:
			return -1
		case a.at.Topic != b.at.Topic:
			return 1
		}
		return int(a.at.Partition - b.at.Partition)
	})
	return list
}

// listed are parts as the program is shown them.
func listed(parts []*part, offset func(*part) Offset) []TopicPartition {
	list := make([]TopicPartition, 0, len(parts))
	for _, p := range parts {
		list = append(list, partitionAt(p.at, offset(p)))
	}
	return list
}

func noOffset(*part) Offset { return OffsetInvalid }
