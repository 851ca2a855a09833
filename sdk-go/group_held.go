package ropewalk

import (
	"sort"
	"sync/atomic"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// An era says which time a member of a group has a partition: it may lose it and get it again. 0: not
// known. Eras are told apart in the whole process.
type era uint64

var eras atomic.Uint64

// countsIn reports whether a position of this era counts in that one.
func (e era) countsIn(now era) bool { return e == 0 || e == now }

// standing is how the member has a partition.
type standing int

const (
	// heldKept: it reads it.
	heldKept standing = iota
	// heldRevoked: it is to be given back.
	heldRevoked
	// heldGivingBack: a call that gives it back was made, and may have gone through without an answer.
	heldGivingBack
	// heldReleased: it was given back, and the stream has not said yet that it has ended.
	heldReleased
	// heldRefused: a commit of it was refused. It is another member's, or was meanwhile, and the stream has
	// not said so yet.
	heldRefused
)

// heldPartition is a partition that the member has.
type heldPartition struct {
	era     era
	topicID string
	// next is what the stream is to bring; given is after what was handed out, and done what of that
	// is finished with.
	next, given, done, committed int64
	// highWatermark and logStart are as last heard.
	highWatermark, logStart int64
	paused                  bool
	standing                standing
}

func newHeld(offset int64) *heldPartition {
	return &heldPartition{
		era: era(eras.Add(1)), next: offset, given: offset, done: offset, committed: offset,
	}
}

// there reports whether the partition is the member's, as far as is known.
func (h *heldPartition) there() bool { return h.standing != heldReleased && h.standing != heldRefused }

func (h *heldPartition) position(tp TopicPartition) Position {
	return Position{
		TopicPartition: tp, Offset: h.given, TopicID: h.topicID, era: h.era,
		HighWatermark: h.highWatermark, LogStart: h.logStart,
	}
}

// heard notes what a stream says of the partition.
func (h *heldPartition) heard(p *pb.PartitionPosition) {
	h.highWatermark = max(h.highWatermark, p.GetHighWatermark())
	h.logStart = max(h.logStart, p.GetLogStartOffset())
}

// groupHoldings are who the member is, what it has, and how far it is with it. They wait for nothing and
// call nobody.
type groupHoldings struct {
	memberID string
	// generation is the newest up to which what is held is known to be the member's.
	generation int64
	held       map[TopicPartition]*heldPartition
	// readElsewhere: nothing is handed out here, and only its commits say how far the member is.
	readElsewhere bool
	// unfinished is what was handed out and does not count as done yet.
	unfinished []*heldPartition
	// left: it has left the group, or is about to.
	left bool
}

// groupChanges are what an assignment means for the program.
type groupChanges struct{ lost, fresh, revoked []Position }

// begin has the member be this one from here on. A stream that takes the place of another says nothing of
// what became of the member's partitions in between: only its first assignment does, and until then
// nothing newer may be claimed than before.
func (g *groupHoldings) begin(memberID string, generation int64) {
	if g.memberID != memberID {
		g.memberID, g.generation = memberID, generation
		g.held = map[TopicPartition]*heldPartition{}
	}
}

// end has it be no member any more. It returns what it had.
func (g *groupHoldings) end() []Position {
	g.memberID = ""
	return g.lose(func(TopicPartition) bool { return true })
}

// leave has it leave. It returns what it leaves with, once.
func (g *groupHoldings) leave() []Position {
	var held []Position
	for tp, h := range g.held {
		if !g.left && h.there() {
			held = append(held, h.position(tp))
		}
	}
	g.left = true
	sortPositions(held)
	return held
}

// lose takes partitions away. It returns those that were not given back.
func (g *groupHoldings) lose(gone func(TopicPartition) bool) []Position {
	var lost []Position
	for tp, h := range g.held {
		if gone(tp) {
			delete(g.held, tp)
			if h.standing != heldReleased {
				lost = append(lost, h.position(tp))
			}
		}
	}
	sortPositions(lost)
	return lost
}

// apply takes up an assignment. The first of a stream says everything that the member has, and whether it
// goes on where that stream was asked to; asked is nil for those that follow.
func (g *groupHoldings) apply(a *pb.Assignment, asked map[TopicPartition]int64) groupChanges {
	gone, there, revoked := map[TopicPartition]bool{}, map[TopicPartition]bool{}, map[TopicPartition]bool{}
	for _, tp := range partitionsOf(a.GetEnded()...) {
		gone[tp] = true
	}
	for _, p := range a.GetAssigned() {
		there[TopicPartition{p.GetTopic(), p.GetPartition()}] = true
	}
	for _, r := range a.GetRevoked() {
		for _, tp := range partitionsOf(r.GetPartitions()) {
			revoked[tp] = true
		}
	}
	var c groupChanges
	c.lost = g.lose(func(tp TopicPartition) bool { return gone[tp] || asked != nil && !there[tp] })
	for _, p := range a.GetAssigned() {
		tp, offset := TopicPartition{p.GetTopic(), p.GetPartition()}, p.GetOffset()
		h := g.held[tp]
		at, isAsked := asked[tp]
		// A revocation is never withdrawn: what was revoked and is no more has gone and come back.
		if h != nil && isAsked && at == offset && h.there() && (revoked[tp] || h.standing == heldKept) {
			h.heard(p)
			continue
		}
		if h != nil && h.standing != heldReleased {
			c.lost = append(c.lost, h.position(tp))
		}
		h = newHeld(offset)
		h.topicID = p.GetTopicId()
		h.heard(p)
		g.held[tp] = h
		c.fresh = append(c.fresh, h.position(tp))
	}
	for tp := range revoked {
		if h := g.held[tp]; h != nil && h.there() {
			h.standing = max(h.standing, heldRevoked)
			// What was read ahead of it is dropped.
			h.next = h.given
			c.revoked = append(c.revoked, h.position(tp))
		}
	}
	sortPositions(c.revoked)
	g.generation = max(g.generation, a.GetGeneration())
	return c
}

// heard notes what a sign of life says of what the member has.
func (g *groupHoldings) heard(positions []*pb.PartitionPosition) {
	for _, p := range positions {
		if h := g.held[TopicPartition{p.GetTopic(), p.GetPartition()}]; h != nil {
			h.heard(p)
		}
	}
}

// reads reports whether records of an era are handed out.
func (g *groupHoldings) reads(tp TopicPartition, e era) bool {
	h := g.held[tp]
	return h != nil && h.standing == heldKept && e.countsIn(h.era)
}

// rewind has what was read ahead of everything come again.
func (g *groupHoldings) rewind() {
	for _, h := range g.held {
		h.next = h.given
	}
}

// give: everything of a partition before an offset has been handed out, or is gone.
func (g *groupHoldings) give(tp TopicPartition, offset int64) {
	if h := g.held[tp]; h != nil {
		h.given = offset
		g.unfinished = append(g.unfinished, h)
	}
}

// finish has all that was handed out count as done.
func (g *groupHoldings) finish() {
	for _, h := range g.unfinished {
		h.done = h.given
	}
	g.unfinished = g.unfinished[:0]
}

// uncommitted is what is done and not committed.
func (g *groupHoldings) uncommitted() []CommittedOffset {
	var offsets []CommittedOffset
	for tp, h := range g.held {
		if h.done != h.committed && h.there() {
			offsets = append(offsets, CommittedOffset{TopicPartition: tp, Offset: h.done, era: h.era})
		}
	}
	sort.Slice(offsets, func(i, j int) bool {
		return offsets[i].TopicPartition.before(offsets[j].TopicPartition)
	})
	return offsets
}

// vouch fills in the eras in which offsets count that are to be committed: the present ones where they do
// not say it themselves. It refuses what is not the member's, or not since then: the broker, which knows
// no more of an offset than the generation of its commit, could take it.
func (g *groupHoldings) vouch(offsets []CommittedOffset) ([]CommittedOffset, error) {
	vouched := make([]CommittedOffset, len(offsets))
	for i, o := range offsets {
		h := g.held[o.TopicPartition]
		if h == nil || !h.there() || !o.era.countsIn(h.era) {
			return nil, newError(opCommit, ReasonMemberFenced, codes.FailedPrecondition, OutcomeNo,
				"%s/%d is not the member's any more, or was another's meanwhile: drop what is left of "+
					"it; whoever has it reads on from what was committed before", o.Topic, o.Partition)
		}
		o.era = h.era
		vouched[i] = o
	}
	return vouched, nil
}

// kept notes offsets that are committed, and partitions that were given back.
func (g *groupHoldings) kept(offsets []CommittedOffset, back []Position) {
	for _, o := range offsets {
		if h := g.held[o.TopicPartition]; h != nil && o.era.countsIn(h.era) {
			h.committed = o.Offset
			if g.readElsewhere {
				h.next, h.given, h.done = o.Offset, o.Offset, o.Offset
			}
		}
	}
	g.turn(back, heldGivingBack, heldReleased)
}

// giveBack says that partitions are being given back. It returns those that are to be, and of them those
// of which no earlier try may have gone through.
func (g *groupHoldings) giveBack(positions []Position) (back, first []Position) {
	for _, p := range positions {
		h := g.held[p.TopicPartition]
		if h == nil || !p.era.countsIn(h.era) {
			continue
		}
		if h.standing == heldRevoked {
			h.standing = heldGivingBack
			first = append(first, p)
		}
		if h.standing == heldGivingBack {
			back = append(back, p)
		}
	}
	return back, first
}

// turn has partitions be in another standing, where they are in this one.
func (g *groupHoldings) turn(positions []Position, from, to standing) {
	for _, p := range positions {
		if h := g.held[p.TopicPartition]; h != nil && p.era.countsIn(h.era) && h.standing == from {
			h.standing = to
		}
	}
}

// refuse: a commit of this partition alone was refused, as it is another's, or was meanwhile. Where a call
// that gave it back has no answer, that is why.
func (g *groupHoldings) refuse(o CommittedOffset) {
	h := g.held[o.TopicPartition]
	if h == nil || !o.era.countsIn(h.era) {
		return
	}
	switch h.standing {
	case heldKept, heldRevoked:
		h.standing = heldRefused
	case heldGivingBack:
		h.standing = heldReleased
	}
}

// positions are what the member has, each with the offset after what was handed out. What is being given
// back is not among it: it may be another's already, and would have a commit of all refused.
func (g *groupHoldings) positions() []Position {
	list := make([]Position, 0, len(g.held))
	for tp, h := range g.held {
		if h.there() && h.standing != heldGivingBack {
			list = append(list, h.position(tp))
		}
	}
	sortPositions(list)
	return list
}

// toGoOn is where another stream of the member is to go on.
func (g *groupHoldings) toGoOn() []*pb.MemberPosition {
	var list []*pb.MemberPosition
	for tp, h := range g.held {
		if h.there() {
			list = append(list, &pb.MemberPosition{
				Topic: tp.Topic, Partition: tp.Partition, Offset: h.next, Paused: h.paused,
			})
		}
	}
	return list
}

// before is the order of topics, and of partitions within them.
func (tp TopicPartition) before(other TopicPartition) bool {
	return tp.Topic < other.Topic || tp.Topic == other.Topic && tp.Partition < other.Partition
}

func sortPositions(list []Position) {
	sort.Slice(list, func(i, j int) bool {
		return list[i].TopicPartition.before(list[j].TopicPartition)
	})
}

func partitionsOf(topics ...*pb.TopicPartitions) []TopicPartition {
	var list []TopicPartition
	for _, t := range topics {
		for _, partition := range t.GetPartitions() {
			list = append(list, TopicPartition{t.GetTopic(), partition})
		}
	}
	return list
}
