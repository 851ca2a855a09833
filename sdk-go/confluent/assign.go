package kafka

import (
	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Assign reads these partitions, and no others: from their Offset, or for OffsetStored and
// OffsetInvalid where the group has committed; where it has committed nothing, auto.offset.reset
// decides, or after Subscribe the partition goes on where it was. It does not wait until that is
// found: an offset behind the end of a partition is an [Error] with ErrOffsetOutOfRange that Poll
// tells, and auto.offset.reset decides too.
//
// After Subscribe only partitions that the group has given can be assigned: others are left out,
// and when it has given none of them the call fails with ErrState. So it does with the cooperative
// protocol, for which there are IncrementalAssign and IncrementalUnassign.
func (c *Consumer) Assign(partitions []TopicPartition) error {
	return c.reassign(partitions, func() error {
		if err := c.notCooperative("Assign"); err != nil {
			return err
		}
		if c.subscribed() {
			return c.assignOfGroup(partitions, true)
		}
		return c.assignChosen(partitions, true)
	})
}

// notCooperative refuses to change all of an assignment of which only parts change. When the group
// is left, all of it goes.
func (c *Consumer) notCooperative(what string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.member == nil || c.ending || !c.s.consumer.cooperative() {
		return nil
	}
	return errorf(ErrState, "%s changes all of the assignment, which is not for the COOPERATIVE "+
		"protocol: call IncrementalAssign or IncrementalUnassign", what)
}

// Unassign reads nothing any more. What is stored is committed, unless enable.auto.commit is false.
// With the cooperative protocol it fails with ErrState, but while the group is left.
func (c *Consumer) Unassign() error {
	return c.reassign(nil, func() error {
		if err := c.notCooperative("Unassign"); err != nil {
			return err
		}
		c.mu.Lock()
		all := sortedParts(c.parts)
		c.mu.Unlock()
		c.drop(all)
		return nil
	})
}

// IncrementalAssign reads these partitions too, as Assign does. One that is assigned already fails
// with ErrConflict.
func (c *Consumer) IncrementalAssign(partitions []TopicPartition) error {
	return c.reassign(partitions, func() error {
		for _, p := range c.named(partitions) {
			if p.assigned {
				return errorf(ErrConflict, "%s [%d] is already part of the current assignment",
					p.at.Topic, p.at.Partition)
			}
		}
		if c.subscribed() {
			return c.assignOfGroup(partitions, false)
		}
		return c.assignChosen(partitions, false)
	})
}

// IncrementalUnassign does not read these partitions any more. When one is not assigned, it fails
// with ErrInvalidArg and changes nothing; a program that polls its rebalances as events may name
// what has gone already.
func (c *Consumer) IncrementalUnassign(partitions []TopicPartition) error {
	return c.reassign(partitions, func() error {
		going := c.named(partitions)
		assigned := 0
		c.mu.Lock()
		for _, p := range going {
			if p.assigned {
				assigned++
			}
		}
		lenient := c.byEvents()
		c.mu.Unlock()
		if assigned < len(partitions) && !lenient {
			return errorf(ErrInvalidArg, "a partition is not part of the current assignment")
		}
		c.drop(going)
		return nil
	})
}

// byEvents reports whether the program polls rebalances, and so hears of them late. The caller
// holds the lock.
func (c *Consumer) byEvents() bool {
	return c.member != nil && c.callback == nil && c.s.rebalances
}

// reassign runs a change of what is assigned, in the turn of the caller.
func (c *Consumer) reassign(partitions []TopicPartition, change func() error) error {
	if err := checkPartitions(partitions); err != nil {
		return err
	}
	if err := checkOffsets(partitions); err != nil {
		return err
	}
	leave, err := c.enter()
	if err != nil {
		return err
	}
	defer leave()
	if c.inCallback() {
		c.mu.Lock()
		c.reassigned = true
		c.mu.Unlock()
		return change() // what it means for the member is settled after the callback
	}
	err = change()
	c.settleFlow()
	return err
}

func (c *Consumer) subscribed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.member != nil
}

// drop ends the reading of partitions. Those that were chosen are forgotten; a group's stay its
// member's.
func (c *Consumer) drop(going []*part) {
	c.unassign(going)
	if !c.subscribed() {
		c.remove(going)
	}
}

// unassign has partitions not be read, once what is stored of them is committed.
func (c *Consumer) unassign(going []*part) {
	if c.s.consumer.autoCommit {
		c.commitStored(going)
	}
	c.mu.Lock()
	var readers []*partReader
	for _, p := range going {
		if p.assigned {
			p.assigned, p.paused, p.pending, p.end = false, false, false, -1
		}
		if len(p.held) > 0 && p.next >= 0 {
			c.moveTo(p, p.next) // it is to come again
		}
		p.stored = nil
		if p.reader != nil {
			readers = append(readers, p.reader)
			p.reader = nil
		}
	}
	c.mu.Unlock()
	for _, r := range readers {
		r.close()
	}
}

// assignOfGroup reads partitions that the group has given; with replace, no others. Of what it has
// taken back meanwhile there is nothing to read.
func (c *Consumer) assignOfGroup(partitions []TopicPartition, replace bool) error {
	parts := c.named(partitions)
	c.mu.Lock()
	lenient := c.byEvents()
	c.mu.Unlock()
	if len(parts) == 0 && len(partitions) > 0 && !lenient {
		return errorf(ErrState, "the group has given this member none of %v", partitions)
	}
	if replace {
		c.unassign(c.others(parts))
	}
	offsets := map[ropewalk.TopicPartition]Offset{}
	for _, tp := range partitions {
		offsets[tp.place()] = tp.Offset
	}
	c.mu.Lock()
	for _, p := range parts {
		// What the group has just given begins where it said.
		p.want, p.given, p.told = offsets[p.at], offsets[p.at], ErrNoError
		p.pending = !p.fresh || !p.want.isStored()
		p.assigned, p.fresh = true, false
	}
	c.hasMoved()
	c.mu.Unlock()
	c.settleStarts()
	return nil
}

// others are the assigned parts that are not among some.
func (c *Consumer) others(than []*part) []*part {
	among := map[*part]bool{}
	for _, p := range than {
		among[p] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*part
	for _, p := range sortedParts(c.parts) {
		if p.assigned && !among[p] {
			list = append(list, p)
		}
	}
	return list
}

// Assignment returns what is read, each partition with the offset that it was assigned with.
func (c *Consumer) Assignment() ([]TopicPartition, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var assigned []*part
	for _, p := range sortedParts(c.parts) {
		if p.assigned {
			assigned = append(assigned, p)
		}
	}
	return listed(assigned, func(p *part) Offset { return p.given }), nil
}

// AssignmentLost reports, within a callback that partitions are revoked, whether they were taken
// without having been given back: other members may have them already, and commits of them fail. A
// program that polls rebalances as events asks when it has got [RevokedPartitions].
func (c *Consumer) AssignmentLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost || c.lostTold
}

// GetRebalanceProtocol returns COOPERATIVE with cooperative-sticky and with
// group.protocol=consumer, else EAGER; it is empty while nothing is subscribed.
func (c *Consumer) GetRebalanceProtocol() string {
	switch {
	case !c.subscribed():
		return ""
	case c.s.consumer.cooperative():
		return "COOPERATIVE"
	}
	return "EAGER"
}
