package kafka

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A delivery is a message on its way, until it is reported.
type delivery struct {
	record   *ropewalk.Record
	to       chan Event
	opaque   any
	size     int64
	deadline time.Time
	report   *Message
	// handing: the core is being asked to take it. purged: it is to be given up as soon as it is known
	// whether the core has it. settled: what became of it is known.
	handing, purged, settled bool
	// handed: the core has it, or takes it this very moment, without the producer's lock.
	handed              atomic.Bool
	previous, following *delivery
}

// deliveries is a list that a delivery leaves in its own time. Guarded by the producer's lock, as
// are the other fields of its elements.
type deliveries struct{ first, last *delivery }

func (l *deliveries) add(d *delivery) {
	if d.previous = l.last; d.previous == nil {
		l.first = d
	} else {
		d.previous.following = d
	}
	l.last = d
}

func (l *deliveries) remove(d *delivery) {
	if d.previous == nil {
		l.first = d.following
	} else {
		d.previous.following = d.following
	}
	if d.following == nil {
		l.last = d.previous
	} else {
		d.following.previous = d.previous
	}
	d.previous, d.following = nil, nil
}

// An outbox has the messages of a topic that the core does not have yet: it may have to ask for the
// topic first, and Produce does not wait for that.
type outbox struct {
	queue   []*delivery
	running bool
	// offered is what the core is asked to take, of the one who asks.
	offered *delivery
	// patience is how long the core may wait for what it needs before it takes a message. It serves
	// messages that are due no earlier than it ends; leave ends it before its time.
	patience context.Context
	leave    context.CancelFunc
}

// waits is a context that ends when a message is due, or somewhat before. The caller holds the
// producer's lock.
func (b *outbox) waits(ctx context.Context, d *delivery) context.Context {
	if b.patience == nil || b.patience.Err() != nil {
		b.end()
		if d.deadline.IsZero() {
			b.patience, b.leave = context.WithCancel(ctx)
		} else {
			b.patience, b.leave = context.WithDeadline(ctx, d.deadline)
		}
	}
	return b.patience
}

// end gives up what waits waits for. The caller holds the producer's lock.
func (b *outbox) end() {
	if b.leave != nil {
		b.leave()
		b.patience, b.leave = nil, nil
	}
}

// A takingPartitioner notes what the core takes of an outbox: asking for the partition is the last
// thing that it does before. So what waits for its topic is known from what may be under way.
type takingPartitioner struct {
	ropewalk.Partitioner
	box *outbox
}

// Partition places a record.
func (t takingPartitioner) Partition(record *ropewalk.Record, partitions int32) int32 {
	t.box.offered.handed.Store(true)
	return t.Partitioner.Partition(record, partitions)
}

func (p *Producer) newDelivery(msg *Message, to chan Event) (*delivery, error) {
	switch {
	case msg == nil || msg.TopicPartition.topic() == "":
		return nil, errorf(ErrInvalidArg, "the message has no topic")
	case msg.TopicPartition.Partition < PartitionAny:
		return nil, errorf(ErrInvalidArg, "partition %d is negative", msg.TopicPartition.Partition)
	}
	size := len(msg.Key) + len(msg.Value)
	for _, h := range msg.Headers {
		size += len(h.Key) + len(h.Value)
	}
	if size > p.s.producer.maxMessage {
		return nil, errorf(ErrMsgSizeTooLarge, "%s: %d bytes, of which message.max.bytes allows %d",
			ErrMsgSizeTooLarge, size, p.s.producer.maxMessage)
	}
	d := &delivery{record: recordOf(msg), to: to, opaque: msg.Opaque, size: int64(size)}
	if timeout := p.s.producer.timeout; timeout > 0 {
		d.deadline = time.Now().Add(timeout)
	}
	return d, nil
}

// queue takes a delivery, if there is room.
func (p *Producer) queue(d *delivery) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &p.s.producer
	switch {
	case p.ended:
		return closedError()
	case p.fatal != nil:
		return Error{code: ErrFatal, str: ErrFatal.String() + ": " + p.fatal.Error(), fatal: true}
	case c.queueMessages > 0 && p.count >= c.queueMessages,
		p.count > 0 && p.bytes+d.size > int64(c.queueKBytes)<<10:
		return Error{code: ErrQueueFull, retriable: true}
	}
	p.count++
	p.bytes += d.size
	p.open.add(d)
	box := p.boxes[d.record.Topic]
	if box == nil {
		box = &outbox{}
		p.boxes[d.record.Topic] = box
	}
	box.queue = append(box.queue, d)
	if !box.running {
		box.running = true
		p.runners.Go(func() { p.run(box) })
	}
	return nil
}

// run hands the messages of a topic to the core, in order.
func (p *Producer) run(box *outbox) {
	for {
		p.mu.Lock()
		queue := box.queue
		if box.queue = nil; len(queue) == 0 {
			box.running = false
			box.end()
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		for _, d := range queue {
			p.hand(box, d)
		}
	}
}

// hand gives one message to the core. It tries again what failed and cannot have been appended, as
// while the topic cannot be asked for, for as long as the message may take.
func (p *Producer) hand(box *outbox, d *delivery) {
	if err := p.awaitCore(box, d); err != nil {
		p.settle(d, ropewalk.Ack{}, err)
		return
	}
	for attempt := 1; !d.isLate(0); attempt++ {
		taken, err := p.offer(box, d)
		if taken {
			return
		}
		if errors.Is(err, context.DeadlineExceeded) && p.ctx.Err() == nil {
			continue // it was the patience of one before that is over, or this one is late
		}
		if errors.Is(err, context.Canceled) && p.ctx.Err() != nil {
			err = errorf(ErrDestroy, "")
		}
		var e *ropewalk.Error
		pause := doubling(p.s.retryFirst, p.s.retryLatest)(attempt)
		if !errors.As(err, &e) || !e.Retriable() || p.ctx.Err() != nil || d.isLate(pause) {
			p.settle(d, ropewalk.Ack{}, err)
			return
		}
		select {
		case <-time.After(pause):
		case <-p.ctx.Done():
		}
	}
	p.settle(d, ropewalk.Ack{}, errorf(ErrMsgTimedOut, ""))
}

// offer has the core take a message, unless it is settled by now.
func (p *Producer) offer(box *outbox, d *delivery) (taken bool, err error) {
	p.mu.Lock()
	if d.settled {
		p.mu.Unlock()
		return true, nil
	}
	d.handing, box.offered = true, d
	ctx := box.waits(p.ctx, d)
	p.mu.Unlock()
	err = p.core.SendAsync(ctx, d.record,
		func(_ *ropewalk.Record, ack ropewalk.Ack, err error) { p.settle(d, ack, err) })
	p.mu.Lock()
	defer p.mu.Unlock()
	d.handing = false
	d.handed.Store(err == nil)
	switch {
	case err != nil && d.purged:
		return false, Error{code: ErrPurgeQueue}
	case d.purged: // the core may have purged before it had the message
		p.settleLocked(d, ropewalk.Ack{}, Error{code: ErrPurgeInflight})
	}
	return err == nil, err
}

// isLate reports whether the time of a message is over, or will be after a pause.
func (d *delivery) isLate(pause time.Duration) bool {
	return !d.deadline.IsZero() && !time.Now().Add(pause).Before(d.deadline)
}

// awaitCore waits for the producer of the core, as long as a message may take, and is not settled.
func (p *Producer) awaitCore(box *outbox, d *delivery) error {
	for !d.isLate(0) {
		if p.connected() {
			return p.refused
		}
		p.mu.Lock()
		settled, ctx := d.settled, box.waits(p.ctx, d)
		p.mu.Unlock()
		if settled {
			return nil
		}
		select {
		case <-p.started:
		case <-ctx.Done(): // as it is late, was purged, or waited for one before it
		}
		if p.ctx.Err() != nil {
			return errorf(ErrDestroy, "")
		}
	}
	return errorf(ErrMsgTimedOut, "")
}

// settle takes what became of a message, once, and has it reported.
func (p *Producer) settle(d *delivery, ack ropewalk.Ack, err error) {
	var failure error
	if err != nil {
		e := deliveryError(err)
		failure = e
		if e.fatal {
			p.fail(e)
		}
	}
	p.mu.Lock()
	p.settleLocked(d, ack, failure)
	p.mu.Unlock()
}

func (p *Producer) settleLocked(d *delivery, ack ropewalk.Ack, failure error) {
	if d.settled {
		return
	}
	d.settled = true
	p.open.remove(d)
	m := newPlaced(d.record.Topic, ack.Partition, Offset(ack.Offset), ack.LeaderEpoch)
	if failure != nil {
		m.TopicPartition.Partition, m.TopicPartition.Offset = d.record.Partition, OffsetInvalid
		m.TopicPartition.Error = failure
	}
	m.Opaque = d.opaque
	if p.fields.key {
		m.Key = d.record.Key
	}
	if p.fields.value {
		m.Value = d.record.Value
	}
	if p.fields.headers {
		for _, h := range d.record.Headers {
			m.Headers = append(m.Headers, Header(h))
		}
	}
	d.report = m
	p.addReport(d)
}

// deliveryError is what a report says: what arose on this side has librdkafka's local codes.
func deliveryError(err error) Error {
	e := asError(err)
	switch {
	case errors.Is(err, ropewalk.ReasonTopicNotFound):
		e.code = ErrUnknownTopic
	case errors.Is(err, ropewalk.ReasonPartitionNotFound):
		e.code = ErrUnknownPartition
	case errors.Is(err, ropewalk.ReasonTimedOut), errors.Is(err, ropewalk.ReasonUnreachable),
		errors.Is(err, ropewalk.ReasonDisconnected):
		e.code = ErrMsgTimedOut
	}
	if e.cause != nil {
		e.str = e.code.String() + ": " + e.cause.Error()
	}
	return e
}

// deliver hands out reports, one after the other.
func (p *Producer) deliver() {
	defer close(p.delivered)
	for {
		p.mu.Lock()
		reports := p.reports
		p.reports = nil
		p.mu.Unlock()
		for _, d := range reports {
			p.handOut(d)
		}
		if len(reports) > 0 {
			continue
		}
		select {
		case <-p.wake:
		case <-p.gone:
			<-p.intake // which still reports what ProduceChannel holds
			p.mu.Lock()
			done := len(p.reports) == 0
			p.mu.Unlock()
			if done {
				return
			}
		}
	}
}

func (p *Producer) handOut(d *delivery) {
	to := d.to
	if to == nil && p.s.reports {
		to = p.events
	}
	if to != nil {
		select {
		case to <- d.report:
		default:
			select {
			case to <- d.report:
			case <-p.gone:
			}
		}
	}
	p.mu.Lock()
	p.count--
	p.bytes -= d.size
	p.mu.Unlock()
	select {
	case p.room <- struct{}{}:
	default:
	}
}

// readChannel takes the messages of ProduceChannel, and waits for room for them. What is left when
// nobody makes room any more was not taken, and is reported as such.
func (p *Producer) readChannel() {
	defer close(p.intake)
	for msg := range p.produceChannel {
		for {
			err := p.take(msg)
			if err != nil && !errors.Is(err, Error{code: ErrQueueFull}) {
				err = p.reportRefused(msg, err)
			}
			if err == nil {
				break
			}
			select {
			case <-p.room:
				continue
			case <-p.gone:
			}
			p.mu.Lock()
			p.reportLocked(msg, errorf(ErrDestroy, ""))
			p.mu.Unlock()
			break
		}
	}
}

func (p *Producer) take(msg *Message) error {
	d, err := p.newDelivery(msg, nil)
	if err != nil {
		return err
	}
	return p.queue(d)
}

// reportRefused has a message of ProduceChannel reported as one that was not taken: in its turn,
// and counted until then as others are.
func (p *Producer) reportRefused(msg *Message, why error) error {
	if msg == nil {
		return nil // there is nothing to report it by
	}
	if errors.Is(why, Error{code: ErrState}) {
		why = errorf(ErrDestroy, "") // it was given before Close, and not read in time
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if limit := p.s.producer.queueMessages; limit > 0 && p.count >= limit {
		return Error{code: ErrQueueFull, retriable: true}
	}
	p.reportLocked(msg, why)
	return nil
}

// reportLocked has a message that was not taken be reported. The caller holds the lock.
func (p *Producer) reportLocked(msg *Message, why error) {
	msg.TopicPartition.Error = why
	p.count++
	// Also where go.delivery.reports is false.
	p.addReport(&delivery{report: msg, to: p.events, settled: true})
}

// addReport has a report handed out. The caller holds the lock.
func (p *Producer) addReport(d *delivery) {
	p.reports = append(p.reports, d)
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// purgeQueue gives up what is not under way.
func (p *Producer) purgeQueue() {
	p.mu.Lock()
	for d := p.open.first; d != nil; {
		following := d.following
		switch {
		case d.handed.Load(): // the core gives it up, if it is not under way
		case d.handing:
			d.purged = true
		default:
			p.settleLocked(d, ropewalk.Ack{}, Error{code: ErrPurgeQueue})
		}
		d = following
	}
	for _, box := range p.boxes {
		box.queue = nil // it was settled above
		box.end()
	}
	p.mu.Unlock()
	if p.connected() && p.core != nil {
		p.core.Purge()
	}
}

// purgeInFlight gives up what is: its answer is not waited for any more. What the core is only
// asked to take waits for its topic: that is queued still.
func (p *Producer) purgeInFlight() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for d := p.open.first; d != nil; {
		following := d.following
		if d.handed.Load() {
			p.settleLocked(d, ropewalk.Ack{}, Error{code: ErrPurgeInflight})
		}
		d = following
	}
}

// connected reports whether the producer of the core is there, or was refused.
func (p *Producer) connected() bool {
	select {
	case <-p.started:
		return true
	default:
		return false
	}
}
