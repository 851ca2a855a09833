package ropewalk

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
)

// abortTimeout bounds the wait for what was given up: a batch that waits to be sent again ends when
// its pause does.
const abortTimeout = 10 * time.Second

// Purge gives up the records that wait to be sent: they fail with [ReasonPurged], and are surely
// not appended. What is under way, or waits to be sent again, goes on. It returns how many there
// were.
func (p *Producer) Purge() int {
	p.mu.Lock()
	p.letGo() // so that nothing is counted that is not there any more
	var purged []*pending
	for _, topic := range p.topics {
		for _, l := range topic.lanes {
			for _, s := range l.queue {
				s.state.CompareAndSwap(stateQueued, stateTaken)
			}
			purged = append(purged, l.queue...)
			l.queue = nil
		}
	}
	p.mu.Unlock()
	e := newError("produce", ReasonPurged, codes.Canceled, OutcomeNo, "the record was given up")
	p.finish(purged, func(int) (Ack, error) { return Ack{}, e })
	return len(purged)
}

// Abort is Close for who cannot wait: what has no answer yet fails at once, and is appended
// perhaps.
func (p *Producer) Abort() error {
	p.Purge()
	p.cancel(closedError("produce", "producer"))
	ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
	defer cancel()
	_ = p.Flush(ctx) // Close ends it in any case
	return p.Close()
}
