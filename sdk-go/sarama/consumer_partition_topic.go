package sarama

import (
	"context"
	"errors"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// isGone reports whether an error says that there is no such topic or partition any more.
func isGone(err error) bool {
	return errors.Is(err, ropewalk.ReasonTopicNotFound) ||
		errors.Is(err, ropewalk.ReasonPartitionNotFound) ||
		errors.Is(err, ropewalk.ReasonTopicReplaced)
}

// awaitTopic tells that the topic is gone, and looks for it from time to time. It reports true when
// there is one that can be read on.
func (p *partitionConsumer) awaitTopic(err error) bool {
	p.closeReader()
	for failures := 1; err != nil; failures++ {
		p.report(err, false)
		if wait(p.reading, p.pauseBefore(failures)) {
			err = p.reopen()
		}
		switch {
		case p.closing.Err() != nil, errors.Is(err, ropewalk.ReasonClosed):
			return false // it is closed, or its client is, and that is no error
		case p.exhausted.Load():
			p.report(ErrConsumerRetriesExhausted, true)
			return false
		case err != nil && !isWorthATry(err):
			p.report(err, true)
			return false
		}
	}
	return true
}

// isWorthATry reports whether the topic may be found another time. A broker that does not answer in
// time is no reason to end.
func isWorthATry(err error) bool {
	var e *ropewalk.Error
	return errors.As(err, &e) && (e.Retriable() || isGone(e)) ||
		errors.Is(err, context.DeadlineExceeded)
}

// reopen reads on where the topic is there. To read it would create it, so it is asked for first.
func (p *partitionConsumer) reopen() error {
	ctx, cancel := context.WithTimeout(p.reading, p.consumer.config.Net.ReadTimeout)
	defer cancel()
	topic, _, err := p.consumer.core.Admin().GetTopic(ctx, p.place.Topic)
	if err != nil {
		return err
	}
	if p.place.Partition >= topic.Partitions {
		return &ropewalk.Error{
			Op: "consume", Reason: ropewalk.ReasonPartitionNotFound,
			Message: "the topic has fewer partitions than it had",
		}
	}
	return p.begin(ctx, ropewalk.StartOffset(p.next), p.next)
}

// closeReader closes what reads. To close it again does nothing.
func (p *partitionConsumer) closeReader() {
	if err := p.reader().Close(); err != nil {
		Logger.Printf("closing the reader of %s/%d: %v\n", p.place.Topic, p.place.Partition, err)
	}
}
