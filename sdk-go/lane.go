package ropewalk

import (
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A lane is one partition in a producer: what waits for it, and what is under way, in order. Its
// fields are guarded by the producer's lock.
type lane struct {
	topic     string
	partition int32
	queue     []*pending
	// held is how many at the end of the queue wait for others to be sent with. bytes are those of the
	// others, heldBytes of these.
	held, bytes, heldBytes int
	// retry holds batches that go before the queue, flying those that are under way, both in order.
	retry, flying []*batch
	// taken counts the batches.
	taken uint64
	// listed: it is in the producer's ready list.
	listed bool
	// resting counts the pauses before a retry that are not over.
	resting int
	// alone: the last answer was a refusal, so that one batch goes at a time until one is appended.
	alone   bool
	numbers numbering
}

// A batch is what is appended as one.
type batch struct {
	lane    *lane
	records []*pending
	// order is its place among the batches of the lane.
	order uint64
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
	// broker is whom the current try went to, by this stream.
	broker uint64
	stream *produceStream
	// refusal is why it is sent again.
	refusal *Error
	// encoded has the records in the form that goes over the wire, once a try has made it.
	encoded *encodedBatch
}

// encode brings a batch's records into the form that goes over the wire, once: what was compressed
// is sent again as it is.
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

// list has the sender look at a lane, if something of it may be sent; the caller holds the lock.
func (p *Producer) list(l *lane) {
	if l.listed || !p.maySend(l) {
		return
	}
	l.listed = true
	p.ready = append(p.ready, l)
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// maySend reports whether a batch of a lane may be sent. Beside another one that is under way only
// a full batch is: so the batches of many small senders get larger while they wait, and a busy
// partition does not wait for each answer. One that is sent again waits until what went after it
// has landed: what became of that is known then, and only the broker's numbers decide what is
// appended.
func (p *Producer) maySend(l *lane) bool {
	most, n := p.config.batching.MaxRecords, len(l.flying)
	waiting := len(l.queue) - l.held
	switch {
	case l.numbers.ended || l.resting > 0 && p.ctx.Err() == nil: // what is aborted does not rest
		return false
	case n == 0:
		return len(l.retry) > 0 || waiting > 0
	case l.alone || n >= p.config.flights():
		return false
	case len(l.retry) > 0:
		return l.flying[n-1].order < l.retry[0].order
	case l.taken+1-l.flying[0].order >= uint64(p.config.flights()):
		return false // the partition knows no more batches again than these
	}
	return waiting > 0 && (l.bytes >= p.config.batchBytes || most > 0 && waiting >= most)
}

// landed takes a batch from those that are under way; the caller holds the lock.
func (l *lane) landed(b *batch) {
	l.flying = slices.DeleteFunc(l.flying, func(other *batch) bool { return other == b })
}

// putBack has batches sent again in the place of one of them; the caller holds the lock.
func (l *lane) putBack(batches ...*batch) {
	after := func(other *batch) bool { return other.order >= batches[0].order }
	at := slices.IndexFunc(l.retry, after)
	if at < 0 {
		at = len(l.retry)
	}
	l.retry = slices.Insert(l.retry, at, batches...)
}

// isOldest reports whether no batch before this one waits or is under way.
func (l *lane) isOldest(b *batch) bool {
	before := func(other *batch) bool { return other.order < b.order }
	return !slices.ContainsFunc(l.flying, before) && !slices.ContainsFunc(l.retry, before)
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
		l.listed = false
		var b *batch
		var withdrawn []*pending
		if p.maySend(l) {
			b, withdrawn = p.take(l)
		}
		if b != nil {
			l.flying = append(l.flying, b)
		}
		p.list(l)
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
// holds, without what waits for more. Records that their callers have withdrawn are sorted out. The
// caller holds the lock.
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
		l.bytes -= s.size
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
	l.taken++
	return &batch{
		lane:     l,
		order:    l.taken,
		records:  records[:len(records):len(records)],
		deadline: p.began.Add(records[0].since + p.config.deliveryTimeout),
	}, withdrawn
}

// push queues a record. What batches have taken stays in the array before the queue until it is
// full: they use it.
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
	if p.waitsFor(b, s) {
		return
	}
	s.send(b)
}

// waitsFor puts a batch back when others of its lane are under way by another stream: it could
// overtake them.
func (p *Producer) waitsFor(b *batch, s *produceStream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := b.lane
	elsewhere := func(other *batch) bool { return other != b && other.stream != s }
	if !slices.ContainsFunc(l.flying, elsewhere) {
		return false
	}
	b.attempts--
	l.landed(b)
	l.putBack(b)
	l.alone = true
	p.list(l)
	return true
}

// failed settles a batch that was not appended, or may not have been: it is repeated if that can
// help and is allowed, else its records get the error.
func (p *Producer) failed(b *batch, e *Error) {
	if e.outcome == OutcomeMaybe {
		p.mu.Lock()
		b.maybe = true
		p.mu.Unlock()
	}
	p.heed(b, e)
	refusal := p.refusedSequence(b, e)
	again := refusal == sendAgain || e.Retriable()
	delay := max(p.config.backoff(b.attempts), e.RetryAfter)
	switch {
	case p.ctx.Err() != nil:
	case refusal == ofAnother:
		b.attempts--
		p.again(b, e, 0)
		return
	case e.code == codes.InvalidArgument && len(b.records) > 1 && (b.number == nil || !b.maybe):
		p.split(b)
		return
	case again && p.mayRetry(b, e, delay):
		p.client.log.Debug("ropewalk: batch is sent again", "topic", b.lane.topic,
			"partition", b.lane.partition, "records", len(b.records), "attempt", b.attempts, "error", e)
		p.client.hooks.batchRetried(b, delay, e)
		p.again(b, e, delay)
		return
	case p.waitsForOlder(b):
		b.attempts--
		p.again(b, e, 0)
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
	p.settle(b, func(int) (Ack, error) { return Ack{}, e })
	p.mu.Lock()
	b.lane.landed(b)
	p.endNumbers(b)
	lost := p.moveOn(b.lane)
	p.mu.Unlock()
	p.giveUp(lost)
}

// waitsForOlder reports whether a numbered batch that is refused is not the first of its lane that
// is not settled: when it is given up the numbers begin anew, and then nobody could say of those
// before it that may have been appended whether they were. It is tried again behind them.
func (p *Producer) waitsForOlder(b *batch) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return b.number != nil && p.fenced == nil && time.Now().Before(b.deadline) && !b.lane.isOldest(b)
}

// moveOn goes on with a lane after something of it has landed. It returns batches to give up. The
// caller holds the lock.
func (p *Producer) moveOn(l *lane) (lost []*batch) {
	if l.numbers.ended && len(l.flying) == 0 {
		lost = p.renumber(l)
	}
	p.list(l)
	return lost
}

// giveUp settles batches that a new beginning of their lane's numbers has left without one.
func (p *Producer) giveUp(lost []*batch) {
	for _, b := range lost {
		e := *b.refusal
		e.outcome = OutcomeMaybe
		e.Message = "a batch before it was given up, and whether this one was appended cannot be " +
			"known: " + e.Message
		p.client.hooks.batchAnswered(p, b, Ack{}, &e)
		p.settle(b, func(int) (Ack, error) { return Ack{}, &e })
	}
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

// again has a batch sent again, after a pause where there is one.
func (p *Producer) again(b *batch, e *Error, pause time.Duration) {
	p.mu.Lock()
	l := b.lane
	b.refusal, l.alone = e, true
	l.landed(b)
	l.putBack(b)
	if pause > 0 {
		l.resting++
	}
	lost := p.moveOn(l)
	p.mu.Unlock()
	p.giveUp(lost)
	if pause <= 0 {
		return
	}
	time.AfterFunc(pause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		l.resting--
		p.list(l)
	})
}

// split halves a batch that the broker refused for what is in it, so that one bad record fails
// alone.
func (p *Producer) split(b *batch) {
	half := len(b.records) / 2
	p.mu.Lock()
	first, second := *b, *b // the stream may still note that it is written
	p.mu.Unlock()
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
	l := b.lane
	l.alone = true
	l.landed(b)
	l.putBack(&first, &second)
	lost := p.moveOn(l)
	p.mu.Unlock()
	p.giveUp(lost)
}
