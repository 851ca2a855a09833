package kafka

import (
	"errors"
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
	// handed: the core has it. settled: what became of it is known.
	handed, settled     bool
	previous, following *delivery
}

// deliveries is a list that a delivery leaves in its own time. Guarded by the producer's lock, as
// are the fields of its elements.
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
}

func (p *Producer) newDelivery(msg *Message, to chan Event) (*delivery, error) {
	switch {
	case msg == nil || msg.TopicPartition.topic() == "":
		return nil, errorf(ErrInvalidArg, "the message has no topic")
	case msg.TopicPartition.Partition < PartitionAny:
		return nil, errorf(ErrInvalidArg, "partition %d is negative", msg.TopicPartition.Partition)
	}
	size := len(msg.Key) + len(msg.Value)
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
		return p.fatal
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
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		for _, d := range queue {
			p.hand(d)
		}
	}
}

// hand gives one message to the core. It tries again what failed and cannot have been appended, as
// while the topic cannot be asked for.
func (p *Producer) hand(d *delivery) {
	err := p.awaitCore(d)
	for attempt := 1; err == nil; attempt++ {
		p.mu.Lock()
		gone := d.settled
		d.handed = true
		p.mu.Unlock()
		if gone {
			return
		}
		failed := p.core.SendAsync(p.ctx, d.record,
			func(_ *ropewalk.Record, ack ropewalk.Ack, err error) { p.settle(d, ack, err) })
		if failed == nil {
			return
		}
		var e *ropewalk.Error
		pause := doubling(p.s.retryFirst, p.s.retryLatest)(attempt)
		if !errors.As(failed, &e) || !e.Retriable() || p.ctx.Err() != nil ||
			!d.deadline.IsZero() && time.Now().Add(pause).After(d.deadline) {
			err = failed
			break
		}
		select {
		case <-time.After(pause):
		case <-p.ctx.Done():
		}
	}
	p.settle(d, ropewalk.Ack{}, err)
}

// awaitCore waits for the producer of the core, as long as a message may take.
func (p *Producer) awaitCore(d *delivery) error {
	select {
	case <-p.started:
		return p.refused
	default:
	}
	var late <-chan time.Time
	if !d.deadline.IsZero() {
		timer := time.NewTimer(time.Until(d.deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-p.started:
		return p.refused
	case <-late:
		return errorf(ErrMsgTimedOut, "")
	case <-p.ctx.Done():
		return errorf(ErrDestroy, "")
	}
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
	p.reports = append(p.reports, d)
	select {
	case p.wake <- struct{}{}:
	default:
	}
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

// readChannel takes the messages of ProduceChannel, and waits for room for them.
func (p *Producer) readChannel() {
	defer close(p.intake)
	for msg := range p.produceChannel {
		for {
			err := p.take(msg)
			if !errors.Is(err, Error{code: ErrQueueFull}) {
				if err != nil && msg != nil {
					msg.TopicPartition.Error = err
					p.tell(msg)
				}
				break
			}
			select {
			case <-p.room:
			case <-p.gone:
				return
			}
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

// purgeQueue gives up what is not under way.
func (p *Producer) purgeQueue() {
	p.mu.Lock()
	for d := p.open.first; d != nil; {
		following := d.following
		if !d.handed {
			p.settleLocked(d, ropewalk.Ack{}, Error{code: ErrPurgeQueue})
		}
		d = following
	}
	p.mu.Unlock()
	if p.connected() && p.core != nil {
		p.core.Purge()
	}
}

// purgeInFlight gives up what is: its answer is not waited for any more.
func (p *Producer) purgeInFlight() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for d := p.open.first; d != nil; {
		following := d.following
		if d.handed {
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
