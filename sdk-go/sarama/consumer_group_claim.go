package sarama

import (
	"context"
	"errors"
)

// groupClaim is a claim as a handler sees it.
type groupClaim struct{ *partitionConsumer }

func (c groupClaim) Topic() string        { return c.place.Topic }
func (c groupClaim) Partition() int32     { return c.place.Partition }
func (c groupClaim) InitialOffset() int64 { return c.start }

// consume reads a claim and hands it to the handler, until that returns.
func (s *groupSession) consume(c *claimed) {
	topic, partition := c.place.Topic, c.place.Partition
	reader, err := s.open(c)
	if err != nil {
		if c.ctx.Err() == nil {
			s.group.report(err, topic, partition)
			// The session ends for it, and the next one tries again.
			wait(c.ctx, s.group.config.Consumer.Retry.Backoff)
		}
		return
	}
	defer context.AfterFunc(c.ctx, reader.AsyncClose)()
	errs := make(chan struct{})
	go func() {
		defer close(errs)
		for err := range reader.Errors() {
			s.group.report(err, topic, partition)
		}
	}()
	defer func() {
		reader.AsyncClose()
		<-reader.ended
		<-errs
	}()
	if err := s.handler.ConsumeClaim(s, groupClaim{reader}); err != nil {
		s.group.report(err, topic, partition)
	}
}

// open reads a claim from where the group is. When that is not there any more, it goes on at
// Offsets.Initial, if the config says so: what is left out by that is logged and counted, and the
// new place is committed, so that whoever has the partition next does not leave out more.
func (s *groupSession) open(c *claimed) (*partitionConsumer, error) {
	consumer, config := s.group.consumer, &s.group.config.Consumer
	topic, partition := c.place.Topic, c.place.Partition
	from, _ := c.marks.get()
	reader, err := consumer.consume(c.ctx, topic, partition, from)
	if !errors.Is(err, ErrOffsetOutOfRange) || !config.Group.ResetInvalidOffsets {
		return reader, err
	}
	reader, err = consumer.consume(c.ctx, topic, partition, config.Offsets.Initial)
	if err != nil {
		return nil, err
	}
	Logger.Printf("consumer group %s: offset %d of %s/%d is not there any more: it goes on at %d\n",
		s.group.id, from, topic, partition, reader.start)
	if reader.start > from {
		consumer.gap(reader.start - from)
	}
	c.marks.move(reader.start)
	return reader, nil
}
