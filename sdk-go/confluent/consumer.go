package kafka

import (
	"context"
	"sync"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const (
	// consumerEvents is the size of a consumer's Events(), unless it is set.
	consumerEvents = 1000
	// shortest is what a Poll of 0 ms waits: to look at what has come takes a moment.
	shortest = time.Millisecond
)

// A RebalanceCb is told of a rebalance, within Poll, ReadMessage, Unsubscribe, Close or a
// Subscribe that takes the place of another: the event is [AssignedPartitions] or
// [RevokedPartitions]. It may call Assign, IncrementalAssign, Unassign or IncrementalUnassign; if
// it calls none, that is done for it. It may commit, store, seek, pause and resume too, and must
// not call Poll, ReadMessage, Subscribe, Unsubscribe or Close. What it returns is not looked at,
// as in librdkafka's binding.
//
// Partitions that are revoked are the consumer's until the callback has returned, so that it can
// commit, unless AssignmentLost says otherwise.
type RebalanceCb func(*Consumer, Event) error

// A Consumer reads partitions: those that its group gives it, after Subscribe, or those that the
// program chooses, with Assign. One goroutine polls; all else may be called by others too.
//
// The membership of the group, and reading ahead, go on by themselves. What needs the program,
// that is rebalances, happens within Poll: a consumer that is not polled keeps its place in the
// group, and partitions that are to move are taken from it after max.poll.interval.ms.
type Consumer struct {
	*handle
	events chan Event
	// reader is closed when nobody fills the channel of events any more.
	reader  chan struct{}
	closing chan struct{}

	// committing is held from when it is looked what is to be committed until the answer is there:
	// or one that is tried again while a coordinator is elected could come after one that is newer,
	// and take the group back. It is locked before mu.
	committing sync.Mutex

	// turn holds a token while somebody polls, or changes what is read.
	turn chan struct{}

	mu sync.Mutex
	// wanting are those who wait for the turn; stop ends the wait of the one who polls.
	wanting int
	stop    context.CancelFunc
	queue   []Event

	topics   []string
	callback RebalanceCb
	member   *membership
	chosen   *chosen
	// fatal is why it cannot be a member of its group any more.
	fatal error
	// parts are the partitions that are read, or could be.
	parts map[ropewalk.TopicPartition]*part
	// inCallback: a callback runs, in the goroutine that has the turn. reassigned: it has called
	// Assign, or one of the others. lost: the partitions are not the consumer's any more.
	inCallback, reassigned, lost bool
	// last is the message that was handed out last: automatic commits leave it out until the
	// program asks for more.
	last *ropewalk.Record
	// heard is when a message came last, looked when partitions were last asked for their ends.
	heard, looked time.Time
	// bounds are the watermarks that were heard of last.
	bounds map[ropewalk.TopicPartition]watermarks
}

type watermarks struct{ low, high int64 }

// NewConsumer makes a consumer of the settings, of which group.id is required. It does not wait
// for a broker: while none can be reached, Poll tells an [Error] with ErrTransport from time to
// time. It fails with ErrInvalidArg for a setting that is not known, or has no meaning here; the
// settings are those of the package's documentation.
func NewConsumer(conf *ConfigMap) (*Consumer, error) {
	c := &Consumer{
		reader: make(chan struct{}), closing: make(chan struct{}), turn: make(chan struct{}, 1),
		parts:  map[ropewalk.TopicPartition]*part{},
		bounds: map[ropewalk.TopicPartition]watermarks{},
	}
	h, err := open(conf, forConsumer, func(err error) { c.tell(asError(err)) })
	if err != nil {
		return nil, err
	}
	c.handle = h
	if every := h.s.consumer.commitEvery; h.s.consumer.autoCommit && every > 0 {
		h.tasks.Go(func() { c.commitRegularly(every) })
	}
	if !h.s.eventsChannel {
		close(c.reader)
		return c, nil
	}
	size := consumerEvents
	if h.s.given["go.events.channel.size"] {
		size = h.s.eventsSize
	}
	c.events = make(chan Event, size)
	go c.fill()
	return c, nil
}

// fill brings events over the channel.
func (c *Consumer) fill() {
	defer close(c.reader)
	for {
		select {
		case <-c.closing:
			return
		default:
		}
		event := c.poll(100 * time.Millisecond)
		if event == nil {
			continue
		}
		select {
		case c.events <- event:
		case <-c.closing:
			return
		}
	}
}

// Poll waits for an event, for so many milliseconds at most, or for ever below 0; nil when none
// came. Callbacks of rebalances run within it.
func (c *Consumer) Poll(timeoutMs int) Event {
	if c.usable() != nil || c.s.eventsChannel {
		return nil
	}
	return c.poll(time.Duration(timeoutMs) * time.Millisecond)
}

// ReadMessage waits for a message, for so long at most, or for ever with -1. When none has come,
// the error's IsTimeout is true. Errors, as of a gap, are returned; other events are dropped.
func (c *Consumer) ReadMessage(timeout time.Duration) (*Message, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if c.s.eventsChannel {
		return nil, errorf(ErrConflict, "messages come over Events(): go.events.channel.enable")
	}
	deadline := time.Now().Add(timeout)
	for {
		switch e := c.poll(timeout).(type) {
		case *Message:
			return e, e.TopicPartition.Error
		case Error:
			return nil, e
		case nil:
			if c.closed.Load() {
				return nil, closedError()
			}
			if timeout >= 0 {
				return nil, Error{code: ErrTimedOut}
			}
		}
		if timeout > 0 {
			timeout = max(time.Until(deadline), 0)
		}
	}
}

// Events returns the channel of events, nil without go.events.channel.enable. Close closes it.
//
// Deprecated: call Poll. What the channel holds may be of partitions that were revoked meanwhile.
func (c *Consumer) Events() chan Event { return c.events }

// poll waits for an event.
func (c *Consumer) poll(timeout time.Duration) Event {
	if timeout >= 0 {
		timeout = max(timeout, shortest)
	}
	ctx, cancel := c.ctx, context.CancelFunc(func() {})
	if timeout >= 0 {
		ctx, cancel = context.WithTimeout(c.ctx, timeout)
	}
	defer cancel()
	for {
		select {
		case c.turn <- struct{}{}:
		case <-ctx.Done():
			return c.pop()
		}
		event := c.step(ctx)
		<-c.turn
		if event != nil || ctx.Err() != nil {
			return event
		}
	}
}

// step takes one event, or nil when somebody else wants the turn or the context ended.
func (c *Consumer) step(ctx context.Context) Event {
	if event := c.pop(); event != nil {
		return c.applied(event)
	}
	if c.endsAreDue() {
		c.lookForEnds()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.mu.Lock()
	if c.wanting > 0 || len(c.queue) > 0 {
		c.mu.Unlock()
		return nil
	}
	c.stop, c.last = stop, nil
	member, chosen := c.member, c.chosen
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.stop = nil
		c.mu.Unlock()
	}()
	ctx, ended := c.untilIdle(ctx)
	defer ended()
	var record *ropewalk.Record
	var err error
	switch {
	case member != nil:
		record, err = member.next(ctx)
	case chosen != nil:
		record, err = chosen.next(ctx)
	default:
		<-ctx.Done()
	}
	switch {
	case record != nil:
		return c.handedOut(record)
	case err != nil:
		return asError(err)
	}
	return nil
}

// handedOut notes that a record goes to the program; nil for one of a partition that is not read
// any more.
func (c *Consumer) handedOut(r *ropewalk.Record) Event {
	at := ropewalk.TopicPartition{Topic: r.Topic, Partition: r.Partition}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parts[at]
	if p == nil || !p.assigned || p.paused {
		return nil
	}
	p.next, p.handed = r.Offset+1, true
	if c.s.consumer.eof {
		c.heard = time.Now()
	}
	if c.s.consumer.autoStore {
		p.store(r.ToCommit())
		c.last = r
	}
	b, known := c.bounds[at]
	if !known {
		b.low = int64(OffsetInvalid)
	}
	c.bounds[at] = watermarks{b.low, max(b.high, r.Offset+1)}
	return messageOf(r)
}

// pop takes an event of the queue.
func (c *Consumer) pop() Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil
	}
	event := c.queue[0]
	c.queue = c.queue[1:]
	return event
}

// mostEvents bounds the events that wait to be polled.
const mostEvents = 10_000

// tell has an event be polled. Where too many wait, as nobody polls, it is logged alone.
func (c *Consumer) tell(event Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) >= mostEvents {
		c.log.Warn("an event was not polled", "event", event.String())
		return
	}
	c.queue = append(c.queue, event)
	if c.stop != nil {
		c.stop()
	}
}

// takeTurn waits until nobody polls. In a callback the goroutine that runs it has the turn already.
func (c *Consumer) takeTurn() (done func()) {
	c.mu.Lock()
	if c.inCallback {
		c.mu.Unlock()
		return func() {}
	}
	c.wanting++
	if c.stop != nil {
		c.stop()
	}
	c.mu.Unlock()
	c.turn <- struct{}{}
	c.mu.Lock()
	c.wanting--
	c.mu.Unlock()
	return func() { <-c.turn }
}

// usable refuses calls after Close, but of the callback that Close has told.
func (c *Consumer) usable() error {
	if c.closed.Load() && !c.inCallbackNow() {
		return closedError()
	}
	return nil
}

// notInCallback refuses what a callback may not do.
func (c *Consumer) notInCallback(what string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inCallback {
		return errorf(ErrState, "%s must not be called while a rebalance callback runs", what)
	}
	return nil
}

// Close commits what is stored, unless enable.auto.commit is false, leaves the group, and ends the
// consumer. A callback is told first that the partitions are revoked. Closing again fails with
// ErrState.
func (c *Consumer) Close() error {
	if err := c.notInCallback("Close"); err != nil {
		return err
	}
	if !c.closed.CompareAndSwap(false, true) {
		return closedError()
	}
	close(c.closing)
	<-c.reader
	done := c.takeTurn()
	c.endSubscription()
	c.endChosen()
	done()
	err := c.shut()
	if c.events != nil {
		close(c.events)
	}
	return toError(err)
}
