package kafka

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/halving"
)

// Commit commits what is stored of the partitions that are assigned, and waits for it. It returns
// what that was; with nothing to commit it fails with ErrNoOffset. Where one partition is refused,
// as its topic is gone, the others are committed: the call fails with the first such error, and
// each has its own. What can never be committed is dropped.
func (c *Consumer) Commit() ([]TopicPartition, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	return c.commit(func() []ropewalk.CommittedOffset { return c.pendingOf(c.all(), false) })
}

// all are the partitions that are read, or could be.
func (c *Consumer) all() []*part {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sortedParts(c.parts)
}

// CommitMessage commits that a message is read: the offset behind it. It is refused with
// ErrIllegalGeneration when another consumer has had the partition since, also if it is this
// consumer's again.
func (c *Consumer) CommitMessage(m *Message) ([]TopicPartition, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if m.TopicPartition.Error != nil {
		return nil, errorf(ErrInvalidArg, "Can't commit errored message")
	}
	if err := checkPartitions([]TopicPartition{m.TopicPartition}); err != nil {
		return nil, err
	}
	behind := []ropewalk.CommittedOffset{behindOf(m)}
	if behind[0].Offset <= 0 {
		return nil, Error{code: ErrNoOffset} // it was not read
	}
	return c.commit(func() []ropewalk.CommittedOffset { return behind })
}

// behindOf is what is to be committed once a message is read. One that was read knows of which time
// it is that the consumer has its partition.
func behindOf(m *Message) ropewalk.CommittedOffset {
	o := committable(m.TopicPartition)
	o.Offset++
	if b := m.behind; b != nil && b.TopicPartition == o.TopicPartition && b.Offset == o.Offset {
		note := o.Metadata
		o = *b
		o.Metadata = note
	}
	return o
}

// CommitOffsets commits offsets, each the next to be read, with their Metadata, and waits for it;
// of nil, what is stored, as Commit. Logical offsets are left out; with no other it fails with
// ErrNoOffset. As with Commit, a partition that is refused has an Error, the first of which is
// returned too, and the others are committed: ErrIllegalGeneration where it is not the consumer's
// any more, ErrOffsetMetadataTooLarge for Metadata of more than 3 KiB.
func (c *Consumer) CommitOffsets(offsets []TopicPartition) ([]TopicPartition, error) {
	if offsets == nil {
		return c.Commit()
	}
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
	return c.commit(func() []ropewalk.CommittedOffset { return list })
}

func committable(tp TopicPartition) ropewalk.CommittedOffset {
	o := ropewalk.CommittedOffset{TopicPartition: tp.place(), Offset: int64(tp.Offset)}
	if tp.Metadata != nil {
		o.Metadata = *tp.Metadata
	}
	return o
}

// commit commits what there is.
func (c *Consumer) commit(
	what func() []ropewalk.CommittedOffset,
) ([]TopicPartition, error) {
	ctx, cancel := c.within(-1)
	defer cancel()
	done, err := c.holdCommits(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	offsets := what()
	if len(offsets) == 0 {
		return nil, Error{code: ErrNoOffset}
	}
	return c.keepEach(ctx, offsets)
}

// holdCommits waits until nobody commits. What is to be committed is looked for after it: so nobody
// commits what was stored before in the place of what was stored later.
func (c *Consumer) holdCommits(ctx context.Context) (done func(), err error) {
	select {
	case c.committing <- struct{}{}:
		return func() { <-c.committing }, nil
	case <-ctx.Done():
		return nil, errorf(ErrTimedOut, "another commit has no answer yet")
	}
}

func shown(offsets []ropewalk.CommittedOffset) []TopicPartition {
	list := make([]TopicPartition, len(offsets))
	for i, o := range offsets {
		list[i] = partitionAt(o.TopicPartition, Offset(o.Offset))
		if o.Metadata != "" {
			list[i].Metadata = &o.Metadata
		}
	}
	return list
}

// keepEach has the core commit what can be committed. It returns what became of each, and the first
// error.
func (c *Consumer) keepEach(
	ctx context.Context, offsets []ropewalk.CommittedOffset,
) (list []TopicPartition, first error) {
	results := halving.Each(offsets, func(some []ropewalk.CommittedOffset) error {
		return c.keep(ctx, some)
	}, ofOnePartition)
	list = shown(offsets)
	for i, result := range results {
		if result.Err == nil {
			continue
		}
		if result.Alone {
			c.unstore(offsets[i])
		}
		if list[i].Error = asError(result.Err); first == nil {
			first = list[i].Error
		}
	}
	return list, first
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
// message that was handed out last, as the program may be at it, and what would go backwards.
func (c *Consumer) pendingOf(parts []*part, automatic bool) []ropewalk.CommittedOffset {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []ropewalk.CommittedOffset
	for _, p := range parts {
		offset, ok := p.uncommitted()
		if !ok || p.lost {
			continue
		}
		if last := c.last; automatic && last != nil && p.at.Topic == last.Topic &&
			p.at.Partition == last.Partition && offset.Offset == last.Offset+1 {
			offset = p.before
		}
		if automatic && (offset.Topic == "" || offset.Offset <= p.committed) {
			continue
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
		case <-c.running.Done():
			return // Close commits
		}
		ctx, cancel := c.within(-1)
		_ = c.commitEach(ctx, func() []ropewalk.CommittedOffset { return c.pendingOf(c.all(), true) })
		cancel()
	}
}

// commitStored commits what is stored of partitions that go.
func (c *Consumer) commitStored(going []*part) {
	ctx, cancel := c.within(-1)
	defer cancel()
	err := c.commitEach(ctx, func() []ropewalk.CommittedOffset { return c.pendingOf(going, false) })
	if err == nil {
		return
	}
	c.log.Warn("what was read of partitions that go is not committed", "error", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unkept = err
}

// commitEach commits what can be committed, and tells what became of it. It returns the first
// error.
func (c *Consumer) commitEach(
	ctx context.Context, what func() []ropewalk.CommittedOffset,
) error {
	if len(what()) == 0 {
		return nil // a rebalance does not wait for the commits of others then
	}
	done, err := c.holdCommits(ctx)
	if err != nil {
		return err
	}
	defer done()
	offsets := what()
	if len(offsets) == 0 {
		return nil
	}
	list, err := c.keepEach(ctx, offsets)
	c.tell(OffsetsCommitted{err, list})
	return err
}

// ofOnePartition reports whether a refusal is of one partition, and nothing of the others.
func ofOnePartition(err error) bool {
	var e *ropewalk.Error
	return errors.As(err, &e) && (e.OfOnePartition() || asError(e).code == ErrOffsetMetadataTooLarge)
}

// unstore drops what cannot be committed: it would be tried again for ever. That may be so only for
// now, as for a topic that another broker has not heard of yet: then what is handed out next is
// committed with it.
func (c *Consumer) unstore(o ropewalk.CommittedOffset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.parts[o.TopicPartition]; p != nil && p.stored != nil && *p.stored == o {
		p.stored = nil
	}
}

// StoreOffsets has offsets, each the next to be read, be committed: by itself with
// enable.auto.commit, or by Commit. It needs enable.auto.offset.store=false, and fails with
// ErrInvalidArg otherwise. A partition that is not assigned has ErrState as its Error; when none of
// them is, the call fails with that.
func (c *Consumer) StoreOffsets(offsets []TopicPartition) ([]TopicPartition, error) {
	if err := checkPartitions(offsets); err != nil {
		return nil, err
	}
	list := make([]ropewalk.CommittedOffset, len(offsets))
	for i, tp := range offsets {
		list[i] = committable(tp)
	}
	return c.storeAll(offsets, list)
}

func (c *Consumer) storeAll(
	shown []TopicPartition, offsets []ropewalk.CommittedOffset,
) ([]TopicPartition, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if c.s.consumer.autoStore {
		return nil, errorf(ErrInvalidArg, "messages are stored by themselves: set "+
			"enable.auto.offset.store to false")
	}
	stored := append([]TopicPartition(nil), shown...)
	refused := 0
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, o := range offsets {
		p := c.parts[o.TopicPartition]
		switch {
		case p == nil || !p.assigned:
			refused++
			stored[i].Error = Error{code: ErrState}
		case o.Offset >= 0:
			stored[i].Error = nil
			p.store(p.ofNow(o))
		}
	}
	if refused > 0 && refused == len(offsets) {
		return stored, Error{code: ErrState}
	}
	return stored, nil
}

// StoreMessage stores that a message is read: the offset behind it. Like StoreOffsets, it needs
// enable.auto.offset.store=false. It fails with ErrState when the partition is not assigned, or
// went and came back since the message was read.
func (c *Consumer) StoreMessage(m *Message) ([]TopicPartition, error) {
	if m.TopicPartition.Error != nil {
		return nil, errorf(ErrInvalidArg, "Can't store errored message")
	}
	if m.TopicPartition.Offset < 0 {
		return nil, errorf(ErrInvalidArg, "Can't store message with offset less than 0")
	}
	behind := m.TopicPartition
	behind.Offset++
	offset, shown := behindOf(m), []TopicPartition{behind}
	if err := checkPartitions(shown); err != nil {
		return nil, err
	}
	c.mu.Lock()
	p := c.parts[offset.TopicPartition]
	former := p != nil && m.behind != nil && !p.isOf(offset)
	c.mu.Unlock()
	if former && c.usable() == nil {
		shown[0].Error = errorf(ErrState, "the partition is assigned anew since the message was read")
		return shown, shown[0].Error
	}
	return c.storeAll(shown, []ropewalk.CommittedOffset{offset})
}

// committed asks what the group has committed; failed says of which topics it could not be had.
func (c *Consumer) committed(ctx context.Context, at []ropewalk.TopicPartition) (
	found map[ropewalk.TopicPartition]ropewalk.CommittedOffset, failed map[string]error, err error,
) {
	found, failed = map[ropewalk.TopicPartition]ropewalk.CommittedOffset{}, map[string]error{}
	var topics []string
	for _, tp := range at {
		if !slices.Contains(topics, tp.Topic) {
			topics = append(topics, tp.Topic)
		}
	}
	if len(topics) == 0 {
		return found, failed, nil
	}
	admin, err := c.admin(ctx)
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	ask := func(topics ...string) error {
		offsets, err := admin.GetCommittedOffsets(ctx, c.s.consumer.group, topics...)
		if err != nil && !errors.Is(err, ropewalk.ReasonGroupNotFound) {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, o := range offsets {
			found[o.TopicPartition] = o
		}
		return nil
	}
	err = ask(topics...)
	if err == nil || !ofOneTopic(err) {
		return found, failed, toError(err)
	}
	inParallel(len(topics), func(i int) {
		if err := ask(topics[i]); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed[topics[i]] = asError(err)
		}
	})
	return found, failed, nil
}

// ofOneTopic reports whether an error says something of one topic, and nothing of the others.
func ofOneTopic(err error) bool {
	return errors.Is(err, ropewalk.ReasonTopicNotFound) ||
		errors.Is(err, ropewalk.ReasonInvalidTopicName)
}

// Committed returns what the group has committed of partitions; OffsetInvalid for those of which it
// has committed nothing. What went wrong with a topic, as when it does not exist, is the Error of
// its partitions.
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
	found, failed, err := c.committed(ctx, at)
	if err != nil {
		return nil, err
	}
	list := make([]TopicPartition, len(at))
	for i, tp := range at {
		list[i] = partitionAt(tp, OffsetInvalid)
		list[i].Error = failed[tp.Topic]
		if o, ok := found[tp]; ok {
			list[i] = shown([]ropewalk.CommittedOffset{o})[0]
		}
	}
	return list, nil
}
