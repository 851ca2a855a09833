package ropewalk

import (
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A lane is one partition in a producer: what waits for it, in order. At most one batch of it is
// under way. Its fields are guarded by the producer's lock.
type lane struct {
	topic     string
	partition int32
	queue     []*pending
	// held is how many at the end of the queue wait for others to be sent with.
	held int
	// retry holds batches that go before the queue.
	retry   []*batch
	state   laneState
	numbers numbering
}

type laneState int

const (
	// laneIdle: nothing waits.
	laneIdle laneState = iota
	// laneReady: it is in the producer's ready list.
	laneReady
	// laneBusy: a batch of it is under way, or waits to be tried again.
	laneBusy
)

// A batch is what is appended as one.
type batch struct {
	lane    *lane
	records []*pending
	// deadline ends the tries; it comes from the oldest record.
	deadline time.Time
	attempts int
	// maybe: an earlier try may have appended it, whatever later tries say.
	maybe bool
	// number is what the broker knows it again by, if the producer is idempotent.
	number *pb.ProducerSequence
	// started is when the current try began. written: the transport has taken it.
	started time.Time
	written bool
	// broker is whom the current try went to.
	broker uint64
	// encoded has the records in the form that goes over the wire, once a try has made it.
	encoded *encodedBatch
}

// encode brings a batch's records into the form that goes over the wire, once: what was compressed is
// sent again as it is.
func (p *Producer) encode(b *batch) *Error {
	if b.encoded != nil {
		return nil
	}
	compressor, err := p.compressorFor(b.lane.topic)
	if err != nil {
		return err
	}
	b.encoded = compressor.encode(b.records)
	return nil
}

// settle gives the records of a batch their outcome: it is not sent again.
func (p *Producer) settle(b *batch, result func(i int) (Ack, error)) {
	b.encoded.free()
	b.encoded = nil
	p.finish(b.records, result)
}

// makeReady has the sender look at a lane; the caller holds the lock.
func (p *Producer) makeReady(l *lane) {
	l.state = laneReady
	p.ready = append(p.ready, l)
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// next moves a lane on after a batch of it came to an end; the caller holds the lock.
func (p *Producer) next(l *lane) {
	if len(l.queue) > l.held || len(l.retry) > 0 {
		p.makeReady(l)
	} else {
		l.state = laneIdle
	}
}

// nextBatch takes a batch of the lane that has been ready for longest, or returns nil.
func (p *Producer) nextBatch() *batch {
	for {
		p.mu.Lock()
		if len(p.ready) == 0 {
			p.mu.Unlock()
			return nil
		}
		l := p.ready[0]
		p.ready = p.ready[1:]
		b, withdrawn := p.take(l)
		if b != nil {
			l.state = laneBusy
		} else {
			l.state = laneIdle
		}
		p.mu.Unlock()
		if len(withdrawn) > 0 {
			p.finish(withdrawn, nil)
		}
		if b != nil {
			return b
		}
	}
}

// take cuts a batch from a lane: one that is to be repeated, else as much of the queue as a batch
// holds, without what waits for more. Records that their callers have withdrawn are sorted out. The caller holds the lock.
func (p *Producer) take(l *lane) (*batch, []*pending) {
	if len(l.retry) > 0 {
		b := l.retry[0]
		l.retry = l.retry[1:]
		return b, nil
	}
	var withdrawn []*pending
	bytes, n, most := 0, 0, p.config.batching.MaxRecords
	records := l.queue[:0] // those that are withdrawn are closed up
	for _, s := range l.queue[:len(l.queue)-l.held] {
		if len(records) > 0 && (bytes+s.size > p.config.batchBytes || len(records) == most) {
			break
		}
		n++
		if !s.state.CompareAndSwap(stateQueued, stateTaken) {
			withdrawn = append(withdrawn, s)
			continue
		}
		records = append(records, s)
		bytes += s.size
	}
	clear(l.queue[len(records):n])
	l.queue = l.queue[n:]
	if len(records) == 0 {
		return nil, withdrawn
	}
	return &batch{
		lane:     l,
		records:  records[:len(records):len(records)],
		deadline: p.began.Add(records[0].since + p.config.deliveryTimeout),
	}, withdrawn
}

// push queues a record. What batches have taken stays in the array before the queue until it is full:
// they use it.
func (l *lane) push(s *pending) {
	if n := len(l.queue); n == cap(l.queue) {
		l.queue = append(make([]*pending, 0, max(2*n, queueAtFirst)), l.queue...)
	}
	l.queue = append(l.queue, s)
}

// queueAtFirst is the room of a queue in the beginning.
const queueAtFirst = 32

// dispatch sends a batch, or settles it where that cannot be done.
func (p *Producer) dispatch(b *batch) {
	p.mu.Lock()
	fenced := p.fenced
	p.mu.Unlock()
	if fenced != nil {
		p.failed(b, fenced)
		return
	}
	if !time.Now().Before(b.deadline) {
		p.failed(b, newError("produce", ReasonTimedOut, codes.DeadlineExceeded, OutcomeNo,
			"the record waited for longer than the delivery timeout"))
		return
	}
	b.attempts++
	if err := p.number(b); err != nil {
		p.failed(b, err)
		return
	}
	if err := p.encode(b); err != nil {
		p.failed(b, err)
		return
	}
	s, err := p.currentStream(p.client.topics.leader(b.lane.topic, b.lane.partition))
	if err != nil {
		p.failed(b, err)
		return
	}
	s.send(b)
}

// failed settles a batch that was not appended, or may not have been: it is repeated if that can
// help and is allowed, else its records get the error.
func (p *Producer) failed(b *batch, e *Error) {
	if e.outcome == OutcomeMaybe {
		b.maybe = true
	}
	p.heed(b, e)
	again := p.refusedSequence(b, e) || e.Retriable()
	delay := max(p.config.backoff(b.attempts), e.RetryAfter)
	switch {
	case p.ctx.Err() != nil:
	case e.code == codes.InvalidArgument && len(b.records) > 1 && (b.number == nil || !b.maybe):
		p.split(b)
		return
	case again && p.mayRetry(b, e, delay):
		p.client.log.Debug("ropewalk: batch is sent again", "topic", b.lane.topic,
			"partition", b.lane.partition, "records", len(b.records), "attempt", b.attempts, "error", e)
		p.client.hooks.batchRetried(b, delay, e)
		time.AfterFunc(delay, func() { p.again(b) })
		return
	}
	if e.code == codes.NotFound {
		p.client.topics.forget(b.lane.topic)
	}
	if b.maybe && e.outcome == OutcomeNo {
		c := *e
		c.outcome = OutcomeMaybe
		e = &c
	}
	p.client.hooks.batchAnswered(p, b, Ack{}, e)
	p.mu.Lock()
	p.restart(b)
	p.next(b.lane)
	p.mu.Unlock()
	p.settle(b, func(int) (Ack, error) { return Ack{}, e })
}

// heed learns from a refusal who leads the partition.
func (p *Producer) heed(b *batch, e *Error) {
	topics, topic, partition := &p.client.topics, b.lane.topic, b.lane.partition
	switch {
	case !isAboutLeaders(e):
		return
	case e.Reason == ReasonNotLeader:
		id, epoch := p.client.brokers.leads(e)
		topics.moved(topic, partition, id, epoch)
	case b.broker != anyBroker:
		// Whoever forwards waits until there is a leader.
		topics.moved(topic, partition, anyBroker, 0)
	}
	topics.suspect(topic)
}

func (p *Producer) mayRetry(b *batch, e *Error, delay time.Duration) bool {
	return (e.outcome == OutcomeNo || p.config.retryMaybe || b.number != nil) &&
		b.attempts <= p.config.maxRetries &&
		time.Now().Add(delay).Before(b.deadline)
}

// again puts a batch back at the head of its lane.
func (p *Producer) again(b *batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b.lane.retry = append([]*batch{b}, b.lane.retry...)
	p.makeReady(b.lane)
}

// split halves a batch that the broker refused for what is in it, so that one bad record fails
// alone.
func (p *Producer) split(b *batch) {
	half := len(b.records) / 2
	first, second := *b, *b
	first.records, second.records = b.records[:half:half], b.records[half:]
	first.attempts, second.attempts = b.attempts-1, b.attempts-1
	if b.number != nil {
		second.number = &pb.ProducerSequence{
			ProducerId: b.number.GetProducerId(), Epoch: b.number.GetEpoch(),
			FirstSequence: b.number.GetFirstSequence() + uint32(half),
		}
	}
	first.encoded, second.encoded = nil, nil
	b.encoded.free()
	p.mu.Lock()
	defer p.mu.Unlock()
	b.lane.retry = append([]*batch{&first, &second}, b.lane.retry...)
	p.makeReady(b.lane)
}
