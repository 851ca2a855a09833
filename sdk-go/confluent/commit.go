package kafka

import (
	"context"
	"errors"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Commit commits what is stored of the partitions that are assigned, and waits for it. It returns
// what it has committed; with nothing to commit it fails with ErrNoOffset.
func (c *Consumer) Commit() ([]TopicPartition, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	c.committing.Lock()
	defer c.committing.Unlock()
	c.mu.Lock()
	parts := sortedParts(c.parts)
	c.mu.Unlock()
	return c.commit(c.pendingOf(parts, false))
}

// CommitMessage commits that a message is read: the offset behind it. It is refused when another
// consumer has had the partition since.
func (c *Consumer) CommitMessage(m *Message) ([]TopicPartition, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if m.TopicPartition.Error != nil {
		return nil, errorf(ErrInvalidArg, "Can't commit errored message")
	}
	behind := m.TopicPartition
	behind.Offset++
	return c.CommitOffsets([]TopicPartition{behind})
}

// CommitOffsets commits offsets, each the next to be read, with their Metadata, and waits for it.
// It returns what it has committed. Logical offsets are left out; with no other it fails with
// ErrNoOffset. Of partitions that are not the consumer's any more, and of all that are committed
// with them, nothing is committed: ErrIllegalGeneration.
func (c *Consumer) CommitOffsets(offsets []TopicPartition) ([]TopicPartition, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if err := checkPartitions(offsets); err != nil {
		return nil, err
	}
	var list []ropewalk.CommittedOffset
	for _, tp := range offsets {
		if tp.Offset >= 0 {
			list = append(list, committable(tp))
		}
	}
	c.committing.Lock()
	defer c.committing.Unlock()
	return c.commit(list)
}

func committable(tp TopicPartition) ropewalk.CommittedOffset {
	o := ropewalk.CommittedOffset{TopicPartition: tp.place(), Offset: int64(tp.Offset)}
	if tp.Metadata != nil {
		o.Metadata = *tp.Metadata
	}
	return o
}

// commit commits offsets, all or none. As all that commit, its caller holds committing.
func (c *Consumer) commit(offsets []ropewalk.CommittedOffset) ([]TopicPartition, error) {
	if len(offsets) == 0 {
		return nil, Error{code: ErrNoOffset}
	}
	ctx, cancel := c.within(-1)
	defer cancel()
	if err := c.keep(ctx, offsets); err != nil {
		return nil, asError(err)
	}
	return shown(offsets, nil), nil
}

func shown(offsets []ropewalk.CommittedOffset, err error) []TopicPartition {
	list := make([]TopicPartition, len(offsets))
	for i, o := range offsets {
		list[i] = partitionAt(o.TopicPartition, Offset(o.Offset))
		list[i].Error = err
		if o.Metadata != "" {
			list[i].Metadata = &o.Metadata
		}
	}
	return list
}

// keep has the core commit: as the member, or for the group of one that is none.
func (c *Consumer) keep(ctx context.Context, offsets []ropewalk.CommittedOffset) error {
	c.mu.Lock()
	m := c.member
	c.mu.Unlock()
	var err error
	if m == nil {
		var admin *ropewalk.Admin
		if admin, err = c.admin(ctx); err == nil {
			err = admin.CommitOffset(ctx, c.s.consumer.group, offsets...)
		}
	} else if member := m.present(); member != nil {
		err = member.CommitOffset(ctx, offsets...)
	} else {
		err = errorf(ErrUnknownMemberID, "the group is not joined yet")
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range offsets {
		if p := c.parts[o.TopicPartition]; p != nil {
			p.committed = o.Offset
		}
	}
	return nil
}

// pendingOf is what is stored of parts and not committed. An automatic commit leaves out the
// message that was handed out last: the program may be at it.
func (c *Consumer) pendingOf(parts []*part, automatic bool) []ropewalk.CommittedOffset {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []ropewalk.CommittedOffset
	for _, p := range parts {
		offset, ok := p.uncommitted()
		if !ok {
			continue
		}
		if last := c.last; automatic && last != nil && p.at.Topic == last.Topic &&
			p.at.Partition == last.Partition && offset.Offset == last.Offset+1 {
			if offset = p.before; offset.Offset <= p.committed || offset.Offset == 0 {
				continue
			}
		}
		list = append(list, offset)
	}
	return list
}

// commitRegularly commits what is stored, time and again.
func (c *Consumer) commitRegularly(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return
		}
		c.committing.Lock()
		c.mu.Lock()
		parts := sortedParts(c.parts)
		c.mu.Unlock()
		c.commitEach(c.pendingOf(parts, true))
		c.committing.Unlock()
	}
}

// commitStored commits what is stored of partitions that go.
func (c *Consumer) commitStored(going []*part) {
	c.committing.Lock()
	defer c.committing.Unlock()
	c.commitEach(c.pendingOf(going, false))
}

// commitEach commits what can be committed, and tells what became of it. Where one partition is not
// the member's any more, the others are committed by themselves.
func (c *Consumer) commitEach(offsets []ropewalk.CommittedOffset) {
	if len(offsets) == 0 {
		return
	}
	ctx, cancel := c.within(-1)
	defer cancel()
	err := c.keep(ctx, offsets)
	if err == nil || len(offsets) == 1 || !errors.Is(err, ropewalk.ReasonMemberFenced) {
		c.tell(OffsetsCommitted{toError(err), shown(offsets, toError(err))})
		return
	}
	for _, offset := range offsets {
		one := []ropewalk.CommittedOffset{offset}
		err := toError(c.keep(ctx, one))
		c.tell(OffsetsCommitted{err, shown(one, err)})
	}
}

// StoreOffsets has offsets, each the next to be read, be committed: by itself with
// enable.auto.commit, or by Commit. It is of use with enable.auto.offset.store=false. A partition
// that is not assigned has ErrState as its Error, and the call fails with that too.
func (c *Consumer) StoreOffsets(offsets []TopicPartition) ([]TopicPartition, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if err := checkPartitions(offsets); err != nil {
		return nil, err
	}
	stored := append([]TopicPartition(nil), offsets...)
	var failed error
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, tp := range stored {
		p := c.parts[tp.place()]
		switch {
		case p == nil || !p.assigned:
			failed = Error{code: ErrState}
			stored[i].Error = failed
		case tp.Offset >= 0:
			p.store(committable(tp))
		}
	}
	return stored, failed
}

// StoreMessage stores that a message is read: the offset behind it.
func (c *Consumer) StoreMessage(m *Message) ([]TopicPartition, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if m.TopicPartition.Error != nil {
		return nil, errorf(ErrInvalidArg, "Can't store errored message")
	}
	if m.TopicPartition.Offset < 0 {
		return nil, errorf(ErrInvalidArg, "Can't store message with offset less than 0")
	}
	behind := m.TopicPartition
	behind.Offset++
	return c.StoreOffsets([]TopicPartition{behind})
}

// committed asks what the group has committed.
func (c *Consumer) committed(
	ctx context.Context, at []ropewalk.TopicPartition,
) (map[ropewalk.TopicPartition]ropewalk.CommittedOffset, error) {
	admin, err := c.admin(ctx)
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	var topics []string
	for _, tp := range at {
		if !named[tp.Topic] {
			named[tp.Topic] = true
			topics = append(topics, tp.Topic)
		}
	}
	offsets, err := admin.GetCommittedOffsets(ctx, c.s.consumer.group, topics...)
	if err != nil && !errors.Is(err, ropewalk.ReasonGroupNotFound) {
		return nil, asError(err)
	}
	found := map[ropewalk.TopicPartition]ropewalk.CommittedOffset{}
	for _, o := range offsets {
		found[o.TopicPartition] = o
	}
	return found, nil
}

// Committed returns what the group has committed of partitions; OffsetInvalid for those of which it
// has committed nothing.
func (c *Consumer) Committed(partitions []TopicPartition, timeoutMs int) ([]TopicPartition, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if err := checkPartitions(partitions); err != nil {
		return nil, err
	}
	at := make([]ropewalk.TopicPartition, len(partitions))
	for i, tp := range partitions {
		at[i] = tp.place()
	}
	ctx, cancel := c.within(timeoutMs)
	defer cancel()
	found, err := c.committed(ctx, at)
	if err != nil {
		return nil, err
	}
	list := make([]TopicPartition, len(at))
	for i, tp := range at {
		list[i] = partitionAt(tp, OffsetInvalid)
		if o, ok := found[tp]; ok {
			list[i] = shown([]ropewalk.CommittedOffset{o}, nil)[0]
		}
	}
	return list, nil
}
