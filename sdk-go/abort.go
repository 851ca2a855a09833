package ropewalk

import "google.golang.org/grpc/codes"

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
	p.mu.Lock()
	p.refusing = true
	p.mu.Unlock()
	p.Purge()
	p.cancel(closedError("produce", "producer"))
	p.mu.Lock()
	for _, topic := range p.topics {
		for _, l := range topic.lanes {
			p.list(l) // what waits to be sent again fails now
		}
	}
	p.mu.Unlock()
	return p.Close()
}
