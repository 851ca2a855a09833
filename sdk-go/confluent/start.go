package kafka

import (
	"context"
	"fmt"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// firstLook bounds how long a call looks where partitions begin. What it has not found by then is
// looked for in the background.
const firstLook = time.Second

// A start is where a partition that its group has given is to begin, and what was found.
type start struct {
	p    *part
	want Offset
	// at is the place; below 0: the partition goes on where it is.
	at int64
	// end is the end of the partition, where what was wanted, sought, lies behind it; else below 0.
	end, sought int64
	err         error
}

func (o Offset) isStored() bool { return o == OffsetStored || o == OffsetInvalid }

// checkOffsets refuses offsets that mean nothing.
func checkOffsets(partitions []TopicPartition) error {
	for _, tp := range partitions {
		_, isTail := tp.Offset.tail()
		if o := tp.Offset; o < 0 && o != OffsetBeginning && o != OffsetEnd && !o.isStored() && !isTail {
			return errorf(ErrInvalidArg, "the offset of %v means nothing", tp)
		}
	}
	return nil
}

// settleStarts finds where partitions begin that wait for it. The caller has the turn.
func (c *Consumer) settleStarts() {
	starts := c.pendingStarts()
	if len(starts) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, firstLook)
	defer cancel()
	c.lookUp(ctx, starts)
	if c.begin(starts, false) {
		c.lookLater()
	}
}

// lookLater looks again and again where partitions begin, until that is known of all: others are
// read meanwhile. The caller has the turn.
func (c *Consumer) lookLater() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looking {
		return
	}
	c.looking = true
	c.tasks.Go(func() {
		for attempt := 1; ; attempt++ {
			select {
			case <-time.After(c.s.reconnectPause(attempt)):
			case <-c.running.Done():
				return
			}
			if !c.lookAgain() {
				return
			}
		}
	})
}

// lookAgain reports whether something is left to be found.
func (c *Consumer) lookAgain() bool {
	starts := c.pendingStarts()
	ctx, cancel := context.WithTimeout(c.running, c.s.requestTimeout)
	defer cancel()
	c.lookUp(ctx, starts)
	leave, err := c.enter()
	if err != nil {
		return false
	}
	defer leave()
	c.begin(starts, true)
	c.settleFlow()
	left := len(c.pendingStarts()) > 0
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looking = left
	return left
}

func (c *Consumer) pendingStarts() []start {
	c.mu.Lock()
	defer c.mu.Unlock()
	var starts []start
	for _, p := range sortedParts(c.parts) {
		if p.assigned && p.pending {
			starts = append(starts, start{p: p, want: p.want, at: -1, end: -1})
		}
	}
	return starts
}

// lookUp finds numbers for what is wanted, and what lies behind the end of a partition. What goes
// wrong with one partition is nothing to the others.
func (c *Consumer) lookUp(ctx context.Context, starts []start) {
	var stored []ropewalk.TopicPartition
	for i := range starts {
		if starts[i].want.isStored() {
			stored = append(stored, starts[i].p.at)
		}
	}
	committed, failed, err := c.committed(ctx, stored)
	var numbered []*start
	for i := range starts {
		switch s := &starts[i]; {
		case !s.want.isStored():
			s.at, numbered = int64(s.want), append(numbered, s)
		case err != nil:
			s.err = err
		case failed[s.p.at.Topic] != nil:
			s.err = failed[s.p.at.Topic]
		default:
			if o, ok := committed[s.p.at]; ok {
				s.at, numbered = o.Offset, append(numbered, s)
			}
		}
	}
	if err := c.bound(ctx, numbered); err != nil {
		for _, s := range numbered {
			s.err = err
		}
	}
}

// bound compares places with where their partitions begin and end.
func (c *Consumer) bound(ctx context.Context, starts []*start) error {
	if len(starts) == 0 {
		return nil
	}
	admin, err := c.admin(ctx)
	if err != nil {
		return err
	}
	bounds := make([]int64, 2*len(starts)) // the first offset of each, and the one behind its last
	err = eachOffset(ctx, admin, len(bounds), func(i int) ropewalk.OffsetQuery {
		at := starts[i/2].p.at
		if i%2 == 0 {
			return ropewalk.QueryEarliest(at.Topic, at.Partition)
		}
		return ropewalk.QueryLatest(at.Topic, at.Partition)
	}, func(i int, found ropewalk.PartitionOffset, err error) {
		if bounds[i] = found.Offset; err != nil {
			starts[i/2].err = err
		}
	})
	if err != nil {
		return err
	}
	for i, s := range starts {
		if s.err == nil {
			s.settle(bounds[2*i], bounds[2*i+1], c.s.consumer.latest)
		}
	}
	return nil
}

// settle finds the place within a partition. Behind its end there is nothing to read:
// auto.offset.reset says then where to go on.
func (s *start) settle(low, high int64, latest bool) {
	back, isTail := s.want.tail()
	switch {
	case s.want == OffsetBeginning:
		s.at = low
	case s.want == OffsetEnd:
		s.at = high
	case isTail:
		s.at = max(high-back, low)
	case s.at > high:
		s.end, s.sought = high, s.at
		if s.at = low; latest {
			s.at = high
		}
	}
}

// begin has partitions be read from where they are to begin; it reports whether something is left
// to be found. The caller has the turn.
func (c *Consumer) begin(starts []start, tell bool) (left bool) {
	var news []Event
	c.mu.Lock()
	for _, s := range starts {
		p := s.p
		if c.parts[p.at] != p || !p.pending || p.want != s.want {
			continue
		}
		if s.err != nil {
			left = true
			e := asError(fmt.Errorf("where %s [%d] is to be read from is not known yet: %w",
				p.at.Topic, p.at.Partition, s.err))
			if tell && e.code != p.told {
				p.told = e.code // once: it may go on for long
				news = append(news, e)
			}
			continue
		}
		if p.pending = false; s.at >= 0 && s.at != p.next {
			c.moveTo(p, s.at)
		}
		c.hasMoved()
		if s.end >= 0 {
			news = append(news, s.beyond())
		}
	}
	c.mu.Unlock()
	for _, event := range news {
		c.tell(event)
	}
	return left
}

// moveTo has a partition be read from elsewhere. The caller holds the lock.
func (c *Consumer) moveTo(p *part, offset int64) {
	p.next, p.handed, p.end = offset, false, -1
	p.dropHeld()
	c.hasMoved()
	if c.member != nil && c.member.member != nil {
		c.member.member.Seek(p.at, offset)
	}
}

// beyond tells that there is nothing where a partition was to be read.
func (s *start) beyond() Error {
	return errorf(ErrOffsetOutOfRange, "%v: offset %d of %s [%d] is behind its end, %d: reading goes "+
		"on at %d, as auto.offset.reset says", ErrOffsetOutOfRange, s.sought, s.p.at.Topic,
		s.p.at.Partition, s.end, s.at)
}
