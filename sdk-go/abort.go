package ropewalk

import (
	"context"

	"google.golang.org/grpc/codes"
)

// Purge gives up the records that wait to be sent: they fail with [ReasonPurged], and are surely
// not appended. What is under way, or waits to be sent again, goes on. It returns how many there were,
// those that their senders had given up too. It calls what SendAsync was given to call, in the caller's
// goroutine.
func (p *Producer) Purge() int {
	p.mu.Lock()
	p.letGo() // so that nothing is counted that is not there any more
	var purged []*pending
	counts := map[TopicPartition]int{} // without those that their senders had given up
	for _, topic := range p.topics {
		for _, l := range topic.lanes {
			for _, s := range l.queue {
				if s.state.CompareAndSwap(stateQueued, stateTaken) {
					counts[TopicPartition{l.topic, l.partition}]++
				}
			}
			purged = append(purged, l.queue...)
			l.queue, l.bytes = nil, 0
		}
	}
	p.mu.Unlock()
	e := newError("produce", ReasonPurged, codes.Canceled, OutcomeNo, "the record was given up")
	for tp, count := range counts {
		p.client.hooks.recordsFailed(tp, count, e)
	}
	p.finish(purged, func(int) (Ack, error) { return Ack{}, e })
	return len(purged)
}

// Abort is Close for who cannot wait: what has no answer yet fails at once, and is appended
// perhaps.
func (p *Producer) Abort() error {
	p.abandon()
	return p.Close()
}

// Shutdown is [Producer.Close] for who can wait as long as the context only: what has no answer then
// fails at once, as with Abort, and Shutdown returns an error that wraps the context's.
func (p *Producer) Shutdown(ctx context.Context) error {
	abandoned := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(abandoned)
		p.abandon()
	})
	err := p.Close()
	if stop() {
		return err
	}
	<-abandoned
	return contextError("close", ctx, OutcomeMaybe)
}

// abandon fails all that has no answer yet.
func (p *Producer) abandon() {
	p.mu.Lock()
	p.refusing = true
	p.mu.Unlock()
	p.Purge()
	p.cancel(closedError("produce", "producer"))
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, topic := range p.topics {
		for _, l := range topic.lanes {
			p.list(l) // what waits to be sent again fails now
		}
	}
}
