package kafka

import (
	"context"
	"sync"
	"sync/atomic"
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
//
// The goroutine that runs the callback changes what is read; others that call Assign, Seek, Close
// and the like wait until it has returned: it must not wait for one of them.
type RebalanceCb func(*Consumer, Event) error

// A Consumer reads partitions: those that its group gives it, after Subscribe, or those that the
// program chooses, with Assign. One goroutine polls; all else may be called by others too.
//
// The membership of the group, and reading ahead, go on by themselves. What needs the program, that
// is rebalances, happens within Poll: a consumer that is not polled keeps its place in the group,
// and partitions that are to move are taken from it after max.poll.interval.ms. That lasts as long
// as its connection: one that breaks is made again within Poll, which is to be called within
// session.timeout.ms then.
type Consumer struct {
	*handle
	events chan Event
	// reader is closed when nobody fills the channel of events any more.
	reader chan struct{}
	// running ends when Close begins.
	running context.Context
	halt    context.CancelFunc

	// turn holds a token while somebody polls, or changes what is read. runner is the goroutine
	// that runs a callback, in its turn; 0 when none does.
	turn   chan struct{}
	runner atomic.Uint64
	// looked is when the member was asked last, and givingBack: it has partitions to give back.
	// They are of whoever has the turn.
	looked     time.Time
	givingBack bool
	// committing holds a token while somebody commits: a commit of less must not come after it.
	committing chan struct{}
	// moved tells that a partition may be at its end now.
	moved chan struct{}

	mu sync.Mutex
	// wanting are those who wait for the turn; stop ends the wait of the one who polls.
	wanting int
	stop    context.CancelFunc
	queue   []queued

	topics   []string
	callback RebalanceCb
	member   *membership
	chosen   *chosen
	// fatal is why it cannot be a member of its group any more.
	fatal error
	// parts are the partitions that are read, or could be.
	parts map[ropewalk.TopicPartition]*part
	// reassigned: the callback that runs has called Assign, or one of the others. lost: what is
	// told now was lost; lostTold: what was polled last was. ending: the group is being left.
	// looking: something looks in the background where partitions begin.
	reassigned, lost, lostTold, ending, looking bool
	// mayHold: there may be a partition that is read, and of which records were held back.
	mayHold bool
	// unkept is why what was stored of partitions that went could not be committed.
	unkept error
	// last is the message that was handed out last: automatic commits leave it out until the
	// program asks for more.
	last *ropewalk.Record
	// heard is when a message came last.
	heard time.Time
	// bounds are the watermarks that were heard of last.
	bounds map[ropewalk.TopicPartition]watermarks
}

type watermarks struct{ low, high int64 }

// queued is an event that waits to be polled; lost: it is of partitions that were lost.
type queued struct {
	event Event
	lost  bool
}

// NewConsumer makes a consumer of the settings, of which group.id is required. It does not wait
// for a broker: while none can be reached, Poll tells an [Error] with ErrTransport from time to
// time. It fails with ErrInvalidArg for a setting that is not known, or has no meaning here; the
// settings are those of the package's documentation.
func NewConsumer(conf *ConfigMap) (*Consumer, error) {
	c := &Consumer{
		reader: make(chan struct{}), turn: make(chan struct{}, 1),
		committing: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		parts:  map[ropewalk.TopicPartition]*part{},
		bounds: map[ropewalk.TopicPartition]watermarks{},
	}
	h, err := open(conf, forConsumer, func(err error) { c.tell(asError(err)) })
	if err != nil {
		return nil, err
	}
	c.handle = h
	c.running, c.halt = context.WithCancel(h.ctx)
	if every := h.s.consumer.commitEvery; h.s.consumer.autoCommit && every > 0 {
		h.tasks.Go(func() { c.commitRegularly(every) })
	}
	if h.s.consumer.eof {
		h.tasks.Go(c.watchEnds)
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
	for c.running.Err() == nil {
		event := c.poll(-1)
		if event == nil {
			continue
		}
		select {
		case c.events <- event:
		case <-c.running.Done():
			c.unread(event)
			return
		}
	}
}

// unread takes back that a message was handed out, which nobody can have got.
func (c *Consumer) unread(event Event) {
	m, ok := event.(*Message)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parts[m.TopicPartition.place()]
	if p == nil || p.next != int64(m.TopicPartition.Offset)+1 {
		return
	}
	if p.next--; c.s.consumer.autoStore {
		p.unstore()
	}
}

// Poll waits for an event, for so many milliseconds at most, or for ever below 0; nil when none
// came. Callbacks of rebalances run within it; in a callback it is an [Error] with ErrState.
func (c *Consumer) Poll(timeoutMs int) Event {
	if err := c.notInCallback("Poll"); err != nil {
		return asError(err)
	}
	if c.check() != nil || c.s.eventsChannel {
		return nil
	}
	return c.poll(time.Duration(timeoutMs) * time.Millisecond)
}

// ReadMessage waits for a message, for so long at most, or for ever with -1. When none has come,
// the error's IsTimeout is true. Errors, as of a gap, are returned; other events are dropped.
func (c *Consumer) ReadMessage(timeout time.Duration) (*Message, error) {
	if err := c.notInCallback("ReadMessage"); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
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
// A message that lies in the channel counts as read: with enable.auto.offset.store it is committed,
// also by Close, and also when nobody takes it from there. Only the message that does not fit in
// any more does not count.
//
// Deprecated: call Poll. What the channel holds may be of partitions that were revoked meanwhile.
func (c *Consumer) Events() chan Event { return c.events }

// poll waits for an event; nil when none came in time, or when Close begins.
func (c *Consumer) poll(timeout time.Duration) Event {
	ctx, cancel := c.running, context.CancelFunc(func() {})
	if timeout >= 0 {
		ctx, cancel = context.WithTimeout(c.running, max(timeout, shortest))
	}
	defer cancel()
	for {
		select {
		case c.turn <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		event := c.turnOf(ctx)
		if event != nil || ctx.Err() != nil {
			return event
		}
	}
}

// turnOf is the turn of one who polls. It gives the turn back also when a callback panics.
func (c *Consumer) turnOf(ctx context.Context) Event {
	defer func() { <-c.turn }()
	if c.closed.Load() {
		return nil
	}
	return c.step(ctx)
}

// step takes one event, or nil when somebody else wants the turn or the context ended.
func (c *Consumer) step(ctx context.Context) Event {
	if q, ok := c.pop(); ok {
		return c.applied(q)
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
	var record *ropewalk.Record
	var err error
	switch {
	case member != nil:
		record, err = c.nextOf(ctx, member)
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
	if p == nil || !p.reads() {
		return nil
	}
	p.next, p.handed = r.Offset+1, true
	if c.s.consumer.eof {
		c.heard = time.Now()
		c.hasMoved()
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
func (c *Consumer) pop() (queued, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return queued{}, false
	}
	q := c.queue[0]
	c.queue = c.queue[1:]
	return q, true
}

// mostEvents bounds the events that wait to be polled.
const mostEvents = 10_000

// tell has an event be polled. Where too many wait, as nobody polls, it is logged alone. Rebalances
// come within a Poll, so that they cannot become many; and what a program is to assign it must
// hear.
func (c *Consumer) tell(event Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := queued{event: event}
	switch event.(type) {
	case AssignedPartitions:
	case RevokedPartitions:
		q.lost = c.lost
	default:
		if len(c.queue) >= mostEvents {
			c.log.Warn("an event was not polled", "event", event.String())
			return
		}
	}
	c.queue = append(c.queue, q)
	if c.stop != nil {
		c.stop()
	}
}

// Close commits what is stored, unless enable.auto.commit is false, leaves the group, and ends the
// consumer. A callback is told first that the partitions are revoked; one that runs at the moment
// is waited for. When the commit or the leaving fails, it returns that, and the consumer has ended
// all the same. Closing again fails with ErrState, and so does Close in a callback.
func (c *Consumer) Close() error {
	if err := c.notInCallback("Close"); err != nil {
		return err
	}
	if !c.closed.CompareAndSwap(false, true) {
		return closedError()
	}
	c.halt()
	<-c.reader
	err := c.end()
	if e := c.shut(); err == nil {
		err = e
	}
	if c.events != nil {
		close(c.events)
	}
	return toError(err)
}

// end ends what was subscribed and assigned.
func (c *Consumer) end() error {
	leave := c.takeTurn()
	defer leave()
	c.mu.Lock()
	c.unkept = nil
	c.mu.Unlock()
	err := c.endSubscription()
	c.endChosen()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unkept != nil {
		return c.unkept
	}
	return err
}
