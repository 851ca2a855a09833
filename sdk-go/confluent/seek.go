package kafka

import "context"

// Seek goes on elsewhere in a partition that is assigned; the timeout is not looked at. What was
// read ahead is not handed out any more. What is stored stays until more is handed out. While no
// broker answers, the place is looked for in the background. Behind the end of the partition,
// auto.offset.reset says where reading goes on, and Poll tells an [Error] with ErrOffsetOutOfRange.
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
	if err := checkOffsets(partitions); err != nil {
		return nil, err
	}
	leave, err := c.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	list := append([]TopicPartition(nil), partitions...)
	starts := c.soughtStarts(list)
	if len(starts) > 0 {
		// One look for all: whoever polls waits meanwhile.
		ctx, cancel := context.WithTimeout(c.ctx, firstLook)
		defer cancel()
		c.lookUp(ctx, starts)
	}
	for i := range list {
		if list[i].Error == nil {
			list[i].Error = c.seek(&starts[0])
			starts = starts[1:]
		}
	}
	if !c.inCallback() {
		c.settleFlow()
	}
	return list, nil
}

// soughtStarts are where partitions are to go on. One that is not assigned has an Error instead.
func (c *Consumer) soughtStarts(list []TopicPartition) []start {
	c.mu.Lock()
	defer c.mu.Unlock()
	var starts []start
	for i, tp := range list {
		p := c.parts[tp.place()]
		if list[i].Error = nil; p == nil || !p.assigned {
			list[i].Error = Error{code: ErrState}
			continue
		}
		starts = append(starts, start{p: p, want: tp.Offset, at: -1, end: -1})
	}
	return starts
}

// seek goes on where a partition is to, as it was looked up.
func (c *Consumer) seek(s *start) error {
	c.mu.Lock()
	chosen := c.chosen != nil
	c.mu.Unlock()
	switch {
	case s.err == nil && s.at < 0:
		return errorf(ErrNoOffset, "nothing is committed of %s [%d]", s.p.at.Topic, s.p.at.Partition)
	case s.err == nil:
		c.seekTo(s.p, Offset(s.at))
	case !passing(s.err):
		return asError(s.err)
	case chosen:
		c.seekTo(s.p, s.want) // its reader finds it
	default:
		c.seekLater(s.p, s.want)
	}
	if s.err == nil && s.end >= 0 {
		c.tell(s.beyond())
	}
	return nil
}

// seekLater has it be found in the background where a partition of a group goes on.
func (c *Consumer) seekLater(p *part, want Offset) {
	c.mu.Lock()
	p.pending, p.want, p.told, p.handed, p.end = true, want, ErrNoError, false, -1
	c.mu.Unlock()
	c.lookLater()
}

// passing reports whether an error may be none a little later.
func passing(err error) bool {
	e := asError(err)
	return e.retriable || e.code == ErrTimedOut || e.code == ErrTransport
}

// seekTo has a partition be read from an offset.
func (c *Consumer) seekTo(p *part, at Offset) {
	c.mu.Lock()
	p.pending = false
	c.moveTo(p, max(int64(at), -1))
	was := p.reader
	p.reader, p.from = nil, at
	if c.chosen != nil && !p.paused {
		c.read(p, at)
	}
	c.mu.Unlock()
	if was != nil {
		was.close()
	}
}

// Pause hands out nothing of partitions until they are resumed. They stay assigned. Some of what
// comes of them is kept, up to 1000 messages or 1 MiB of each: a pause that is longer has what was
// read ahead of all partitions of the group read again, and so has its end. Of partitions that the
// program has assigned itself, what was read ahead of those that are paused is read again.
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
		p.paused, p.holds = paused, paused && c.chosen == nil
		switch {
		case c.chosen == nil:
		case paused && p.reader != nil:
			readers = append(readers, p.reader)
			p.reader = nil
		case !paused:
			from := p.from
			if p.next >= 0 {
				from = Offset(p.next)
			}
			c.read(p, from)
		}
	}
	c.hasMoved()
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
