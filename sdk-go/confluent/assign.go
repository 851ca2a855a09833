package kafka

import (
	"context"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Assign reads these partitions, and no others: from their Offset, or for OffsetStored and
// OffsetInvalid where the group has committed; where it has committed nothing, auto.offset.reset
// decides, or after Subscribe the partition goes on where it was. After Subscribe only partitions
// that the group has given can be assigned: others fail with ErrState.
func (c *Consumer) Assign(partitions []TopicPartition) error {
	return c.reassign(partitions, func() error {
		if c.subscribed() {
			return c.assignOfGroup(partitions, true)
		}
		return c.assignChosen(partitions, true)
	})
}

// Unassign reads nothing any more. What is stored is committed, unless enable.auto.commit is false.
func (c *Consumer) Unassign() error {
	return c.reassign(nil, func() error {
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

// IncrementalUnassign does not read these partitions any more. One that is not assigned fails with
// ErrInvalidArg.
func (c *Consumer) IncrementalUnassign(partitions []TopicPartition) error {
	return c.reassign(partitions, func() error {
		going := c.named(partitions)
		if len(going) < len(partitions) {
			return errorf(ErrInvalidArg, "a partition is not part of the current assignment")
		}
		c.drop(going)
		return nil
	})
}

// reassign runs a change of what is assigned, in the turn of the caller.
func (c *Consumer) reassign(partitions []TopicPartition, change func() error) error {
	if err := checkPartitions(partitions); err != nil {
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
	c.mu.Lock()
	lost := c.lost
	c.mu.Unlock()
	if c.s.consumer.autoCommit && !lost {
		c.commitStored(going)
	}
	c.mu.Lock()
	var readers []*partReader
	for _, p := range going {
		if p.assigned {
			p.assigned, p.paused, p.end = false, false, -1
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

// assignOfGroup reads partitions that the group has given; with replace, no others.
func (c *Consumer) assignOfGroup(partitions []TopicPartition, replace bool) error {
	parts := c.named(partitions)
	if len(parts) < len(partitions) {
		return errorf(ErrState, "the group has not given this member all of %v", partitions)
	}
	if replace {
		c.unassign(c.others(parts))
	}
	offsets := map[ropewalk.TopicPartition]Offset{}
	for _, tp := range partitions {
		offsets[tp.place()] = tp.Offset
	}
	ctx, cancel := c.within(-1)
	defer cancel()
	if err := c.resolve(ctx, parts, offsets); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	member := c.member.member
	for _, p := range parts {
		if at := int64(offsets[p.at]); at >= 0 && at != p.next && member != nil {
			p.next, p.handed = at, false
			member.Seek(p.at, at)
		}
		p.assigned, p.fresh, p.given = true, false, offsets[p.at]
	}
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

// resolve puts numbers in the place of logical offsets, where there is one to be had: what the
// group has just given begins where it said.
func (c *Consumer) resolve(
	ctx context.Context, parts []*part, offsets map[ropewalk.TopicPartition]Offset,
) error {
	var stored, ends []ropewalk.TopicPartition
	for _, p := range parts {
		switch offset := offsets[p.at]; {
		case offset >= 0:
		case offset != OffsetStored && offset != OffsetInvalid:
			ends = append(ends, p.at)
		case !p.fresh:
			stored = append(stored, p.at)
		}
	}
	if len(stored) > 0 {
		committed, err := c.committed(ctx, stored)
		if err != nil {
			return err
		}
		for _, at := range stored {
			if offset, ok := committed[at]; ok {
				offsets[at] = Offset(offset.Offset)
			}
		}
	}
	for _, at := range ends {
		n, err := c.logical(ctx, at, offsets[at])
		if err != nil {
			return err
		}
		offsets[at] = n
	}
	return nil
}

// logical is the number of a logical offset.
func (c *Consumer) logical(
	ctx context.Context, at ropewalk.TopicPartition, offset Offset,
) (Offset, error) {
	admin, err := c.admin(ctx)
	if err != nil {
		return 0, err
	}
	bounds, err := admin.ListOffsets(ctx,
		ropewalk.QueryEarliest(at.Topic, at.Partition),
		ropewalk.QueryLatest(at.Topic, at.Partition))
	if err != nil {
		return 0, asError(err)
	}
	low, high := bounds[0].Offset, bounds[1].Offset
	back, isTail := offset.tail()
	switch {
	case offset == OffsetBeginning:
		return Offset(low), nil
	case offset == OffsetEnd:
		return Offset(high), nil
	case isTail:
		return Offset(max(high-back, low)), nil
	}
	return 0, errorf(ErrInvalidArg, "offset %d of %s [%d] means nothing",
		offset, at.Topic, at.Partition)
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
// without having been given back: other members may have them already, and commits of them fail.
func (c *Consumer) AssignmentLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
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
