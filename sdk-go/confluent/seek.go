package kafka

import ropewalk "github.com/ropewalk/ropewalk/sdk-go"

// Seek goes on elsewhere in a partition that is assigned; the timeout is not looked at. What was
// read ahead is not handed out any more. What is stored stays until more is handed out.
//
// Deprecated: call SeekPartitions.
func (c *Consumer) Seek(partition TopicPartition, ignoredTimeoutMs int) error {
	done, err := c.SeekPartitions([]TopicPartition{partition})
	if err == nil {
		err = done[0].Error
	}
	return err
}

// SeekPartitions goes on elsewhere in partitions that are assigned: at an offset, or a logical
// one. A partition that is not assigned has ErrState as its Error.
func (c *Consumer) SeekPartitions(partitions []TopicPartition) ([]TopicPartition, error) {
	if err := checkPartitions(partitions); err != nil {
		return nil, err
	}
	leave, err := c.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	list := append([]TopicPartition(nil), partitions...)
	for i, tp := range list {
		list[i].Error = nil
		if err := c.seek(tp); err != nil {
			list[i].Error = err
		}
	}
	return list, nil
}

func (c *Consumer) seek(tp TopicPartition) error {
	c.mu.Lock()
	p := c.parts[tp.place()]
	ok := p != nil && p.assigned
	if ok {
		p.fresh = false // a stored offset is asked for
	}
	c.mu.Unlock()
	if !ok {
		return Error{code: ErrState}
	}
	ctx, cancel := c.within(-1)
	defer cancel()
	offsets := map[ropewalk.TopicPartition]Offset{p.at: tp.Offset}
	if err := c.resolve(ctx, []*part{p}, offsets); err != nil {
		return err
	}
	at := offsets[p.at]
	if at < 0 {
		return errorf(ErrNoOffset, "nothing is committed of %s [%d]", p.at.Topic, p.at.Partition)
	}
	c.mu.Lock()
	p.next, p.handed, p.end = int64(at), false, -1
	if c.member != nil && c.member.member != nil {
		c.member.member.Seek(p.at, int64(at))
	}
	was := p.reader
	p.reader = nil
	if c.chosen != nil && !p.paused {
		c.read(p, at)
	}
	c.mu.Unlock()
	if was != nil {
		was.close()
	}
	return nil
}

// Pause hands out nothing of partitions until they are resumed. They stay assigned. What was read
// ahead of them is read again later.
func (c *Consumer) Pause(partitions []TopicPartition) error {
	return c.setPaused(partitions, true)
}

// Resume hands out messages of partitions again.
func (c *Consumer) Resume(partitions []TopicPartition) error {
	return c.setPaused(partitions, false)
}

func (c *Consumer) setPaused(partitions []TopicPartition, paused bool) error {
	if err := checkPartitions(partitions); err != nil {
		return err
	}
	leave, err := c.enter()
	if err != nil {
		return err
	}
	defer leave()
	parts := c.named(partitions)
	if len(parts) < len(partitions) {
		return errorf(ErrUnknownPartition, "a partition is not assigned")
	}
	var readers []*partReader
	c.mu.Lock()
	for _, p := range parts {
		if p.paused == paused {
			continue
		}
		p.paused = paused
		switch {
		case c.chosen == nil:
		case paused && p.reader != nil:
			readers = append(readers, p.reader)
			p.reader = nil
		case !paused:
			from := p.given
			if p.next >= 0 {
				from = Offset(p.next)
			}
			c.read(p, from)
		}
	}
	c.mu.Unlock()
	for _, r := range readers {
		r.close()
	}
	if !c.inCallback() {
		c.settleFlow()
	}
	return nil
}

// Position returns where the consumer is in partitions: the offset behind the message that was
// handed out last; OffsetInvalid where none was.
func (c *Consumer) Position(partitions []TopicPartition) ([]TopicPartition, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if err := checkPartitions(partitions); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]TopicPartition, len(partitions))
	for i, tp := range partitions {
		list[i] = partitionAt(tp.place(), OffsetInvalid)
		if p := c.parts[tp.place()]; p != nil && p.handed {
			list[i].Offset = Offset(p.next)
		}
	}
	return list, nil
}

// ConsumerGroupMetadata says which member of which group a consumer is.
type ConsumerGroupMetadata struct {
	group, member string
}

// GetConsumerGroupMetadata returns who the consumer is in its group. It is for transactions, which
// there are none of.
func (c *Consumer) GetConsumerGroupMetadata() (*ConsumerGroupMetadata, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	metadata := &ConsumerGroupMetadata{group: c.s.consumer.group}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.member != nil && c.member.member != nil {
		metadata.member = c.member.member.MemberID()
	}
	return metadata, nil
}

// NewTestConsumerGroupMetadata makes one of a group without a member, for tests.
func NewTestConsumerGroupMetadata(groupID string) (*ConsumerGroupMetadata, error) {
	return &ConsumerGroupMetadata{group: groupID}, nil
}
