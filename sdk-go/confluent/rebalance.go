package kafka

import (
	"context"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// The core tells of rebalances partition by partition. A program that asked for range or roundrobin
// expects the eager protocol: all partitions are revoked, and then all are assigned. It is told so;
// one that hears of nothing is spared it, and goes on where it is.

// eager reports whether the program is to see all partitions go and come.
func (c *Consumer) eager() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.s.consumer.cooperative() && (c.callback != nil || c.s.rebalances)
}

// onAssigned takes partitions that the group gives.
func (c *Consumer) onAssigned(_ context.Context, positions []ropewalk.Position) {
	c.mu.Lock()
	had := sortedParts(c.parts)
	fresh := make([]*part, 0, len(positions))
	for _, at := range positions {
		p := newPart(at.TopicPartition)
		p.next, p.fresh, p.flowing, p.mark = at.Offset, true, true, at.ToCommit()
		c.parts[at.TopicPartition] = p
		c.bounds[at.TopicPartition] = watermarks{at.LogStart, at.HighWatermark}
		fresh = append(fresh, p)
	}
	all := sortedParts(c.parts)
	c.mu.Unlock()
	if c.eager() {
		if len(had) > 0 {
			c.revoke(had)
		}
		fresh = all
	}
	c.fire(AssignedPartitions{listed(fresh, noOffset)})
	c.settleFlow()
}

// onRevoked gives up partitions that go to other members.
func (c *Consumer) onRevoked(_ context.Context, positions []ropewalk.Position) {
	c.givingBack = true
	going := c.partsOf(positions)
	if c.eager() {
		c.mu.Lock()
		all := sortedParts(c.parts)
		c.mu.Unlock()
		c.revoke(all)
		c.remove(going)
		c.assignRest()
	} else {
		c.revoke(going)
		c.remove(going)
	}
	c.settleFlow()
}

// onLost takes that partitions are gone: nothing of them can be committed any more.
func (c *Consumer) onLost(_ context.Context, positions []ropewalk.Position) {
	going := c.partsOf(positions)
	if len(going) == 0 {
		return // it was given back, and the answer to that was lost
	}
	c.loseAll(going)
	if c.eager() {
		c.assignRest()
	}
	c.settleFlow()
}

// loseAll tells that partitions were lost, and drops them.
func (c *Consumer) loseAll(going []*part) {
	c.mu.Lock()
	c.lost = true
	for _, p := range going {
		p.stored, p.lost = nil, true
	}
	told := going
	c.mu.Unlock()
	if len(told) > 0 {
		if c.eager() {
			c.mu.Lock()
			told = sortedParts(c.parts)
			c.mu.Unlock()
		}
		c.revoke(told)
	}
	c.remove(going)
	c.mu.Lock()
	c.lost = false
	c.mu.Unlock()
}

// giveUpAll tells that all partitions go, before the group is left.
func (c *Consumer) giveUpAll() {
	c.mu.Lock()
	all := sortedParts(c.parts)
	c.mu.Unlock()
	if len(all) > 0 {
		c.revoke(all)
		c.remove(all)
	}
}

// revoke tells of partitions that go. They are not assigned any more afterwards.
func (c *Consumer) revoke(going []*part) {
	c.fire(RevokedPartitions{listed(going, noOffset)})
	// Also where the callback has unassigned others than it should have.
	c.unassign(going)
}

// assignRest tells an eager program what it has after others went.
func (c *Consumer) assignRest() {
	c.mu.Lock()
	rest := sortedParts(c.parts)
	c.mu.Unlock()
	c.fire(AssignedPartitions{listed(rest, noOffset)})
}

func (c *Consumer) partsOf(positions []ropewalk.Position) []*part {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*part
	for _, at := range positions {
		if p := c.parts[at.TopicPartition]; p != nil {
			list = append(list, p)
		}
	}
	return list
}

func (c *Consumer) remove(going []*part) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range going {
		if c.parts[p.at] == p {
			delete(c.parts, p.at)
		}
	}
}

// fire has the program see a rebalance, and does what the program leaves to be done.
func (c *Consumer) fire(event Event) {
	c.mu.Lock()
	callback := c.callback
	c.mu.Unlock()
	switch {
	case callback != nil:
		if c.call(callback, event) {
			return
		}
	case c.s.rebalances:
		// The event is told when it is polled. With a channel the program itself assigns.
		c.tell(event)
		if _, assigned := event.(AssignedPartitions); assigned && c.s.eventsChannel {
			return
		}
	}
	c.follow(event)
}

// call runs a callback; it reports whether it has assigned or unassigned something.
func (c *Consumer) call(callback RebalanceCb, event Event) bool {
	c.mu.Lock()
	c.reassigned = false
	c.mu.Unlock()
	c.runner.Store(goroutine())
	defer c.runner.Store(0) // also when it panics
	_ = callback(c, event)  // as in librdkafka's binding
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reassigned
}

// follow does what a rebalance asks for.
func (c *Consumer) follow(event Event) {
	switch e := event.(type) {
	case AssignedPartitions:
		if err := c.assignOfGroup(e.Partitions, false); err != nil {
			c.tell(asError(err))
		}
	case RevokedPartitions:
		c.unassign(c.named(e.Partitions))
	}
}

// applied is an event that is polled now; nil for one that does not hold any more. A program that
// has unassigned everything when it polled that it was revoked need not assign what it polls next.
func (c *Consumer) applied(q queued) Event {
	switch e := q.event.(type) {
	case PartitionEOF:
		c.mu.Lock()
		defer c.mu.Unlock()
		if p := c.parts[TopicPartition(e).place()]; p == nil || p.next != int64(e.Offset) {
			return nil
		}
	case RevokedPartitions:
		c.mu.Lock()
		c.lostTold = q.lost
		c.mu.Unlock()
	case AssignedPartitions:
		c.mu.Lock()
		c.lostTold = false
		follows := c.byEvents() && !c.s.eventsChannel
		var left []TopicPartition
		for _, tp := range e.Partitions {
			if p := c.parts[tp.place()]; p != nil && !p.assigned {
				left = append(left, tp)
			}
		}
		c.mu.Unlock()
		if follows && len(left) > 0 {
			c.follow(AssignedPartitions{left})
			c.settleFlow()
		}
	}
	return q.event
}

// named are the parts of partitions.
func (c *Consumer) named(partitions []TopicPartition) []*part {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*part
	for _, tp := range partitions {
		if p := c.parts[tp.place()]; p != nil {
			list = append(list, p)
		}
	}
	return list
}

// settleFlow has the member read what is assigned and not paused for long, from where the program
// is.
func (c *Consumer) settleFlow() {
	c.mu.Lock()
	if c.member == nil || c.member.member == nil {
		c.mu.Unlock()
		return
	}
	member := c.member.member
	var stop, begin []ropewalk.TopicPartition
	// What was held back of these comes again, from where the program is.
	for _, p := range sortedParts(c.parts) {
		reads := p.flows()
		switch {
		case reads && !p.flowing:
			begin = append(begin, p.at)
			p.dropHeld()
		case !reads && p.flowing:
			stop = append(stop, p.at)
			p.dropHeld()
		}
		p.flowing = reads
	}
	next := map[ropewalk.TopicPartition]int64{}
	for _, at := range begin {
		next[at] = c.parts[at].next
	}
	c.mu.Unlock()
	if len(stop) > 0 {
		member.Pause(stop...)
	}
	if len(begin) == 0 {
		return
	}
	for _, position := range member.Positions() {
		// A record that was on its way to the program when it stopped was dropped.
		if at, ok := next[position.TopicPartition]; ok && at != position.Offset {
			member.Seek(position.TopicPartition, at)
		}
	}
	member.Resume(begin...)
}
