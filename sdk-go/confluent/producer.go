package kafka

import (
	"context"
	"sync"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const (
	// PurgeQueue has Purge give up the messages that wait to be sent.
	PurgeQueue = 1
	// PurgeInFlight has it give up those that are under way: they are in the log perhaps.
	PurgeInFlight = 2
	// PurgeNonBlocking is accepted: Purge never blocks.
	PurgeNonBlocking = 4
)

const (
	// producerEvents is the size of a producer's Events(), unless it is set.
	producerEvents = 1_000_000
	// farewell is how long Close waits for messages that have no answer yet.
	farewell = 5 * time.Second
	// patience is how long it waits for a channel to take a report.
	patience = 250 * time.Millisecond
	// recordOverhead is what the core counts for a record beside its bytes, and more.
	recordOverhead = 512
)

// A Producer sends messages and reports what became of each. It is safe for use by many goroutines,
// and works best when they share one.
//
// Produce never blocks. Each message that it takes is reported exactly once, as a new *[Message]
// with the Opaque of the first: on the channel that Produce was given, or else on Events. The
// reports of a partition come in the order of its messages, but for those of messages that were
// given up before they were sent: refused by their topic, too late, or purged.
//
// Reports wait in the producer until their channel takes them, one after the other: a channel that
// nobody reads holds up all that come behind. Messages count as queued until then, so that Produce
// says ErrQueueFull in the end, and nothing is lost.
type Producer struct {
	*handle
	events         chan Event
	produceChannel chan *Message
	fields         messageFields

	started chan struct{}
	core    *ropewalk.Producer
	// refused is why there is no producer of the core, once started is closed.
	refused error

	// intake is closed when ProduceChannel has been read to its end, delivered when no report
	// will be handed out any more; runners hand messages to the core.
	intake, delivered chan struct{}
	runners           sync.WaitGroup
	// gone is closed when nobody waits for reports any more.
	gone chan struct{}

	telling sync.Mutex
	// silent: nothing may be told any more. Guarded by telling.
	silent bool

	mu sync.Mutex
	// ended: no message is taken any more.
	ended bool
	boxes map[string]*outbox
	// count and bytes are what is not reported yet.
	count int
	bytes int64
	// open has the deliveries without a report, oldest first.
	open    deliveries
	reports []*delivery
	wake    chan struct{}
	// room tells one who waits for room in the queue that there may be some.
	room  chan struct{}
	fatal error
}

// NewProducer makes a producer of the settings. It does not wait for a broker: while none can be
// reached, an [Error] with ErrTransport is on Events from time to time, and messages wait. It
// fails with ErrInvalidArg for a setting that is not known, or has no meaning here; the settings
// are those of the package's documentation.
func NewProducer(conf *ConfigMap) (*Producer, error) {
	p := &Producer{
		started: make(chan struct{}), gone: make(chan struct{}), boxes: map[string]*outbox{},
		intake: make(chan struct{}), delivered: make(chan struct{}),
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	ready := make(chan struct{})
	h, err := open(conf, forProducer, func(err error) {
		<-ready
		p.tell(asError(err))
	})
	if err != nil {
		return nil, err
	}
	p.handle = h
	p.fields, _ = fieldsOf(h.s.reportFields) // it was checked
	size := producerEvents
	if h.s.given["go.events.channel.size"] {
		size = h.s.eventsSize
	}
	p.events = make(chan Event, size)
	p.produceChannel = make(chan *Message, h.s.produceSize)
	close(ready)
	h.tasks.Go(p.start)
	go p.readChannel()
	go p.deliver()
	return p, nil
}

// start makes the producer of the core, once there is a client.
func (p *Producer) start() {
	client, err := p.handle.core(p.ctx)
	if err == nil {
		options := append(p.s.producerOptions(), ropewalk.WithPartitioner(p.partitioner))
		p.core, err = client.NewProducer(options...)
	}
	p.refused = toError(err)
	close(p.started)
	if err != nil && p.ctx.Err() == nil {
		p.tell(asError(err))
	}
}

// producerOptions are the core's for the settings.
func (s *settings) producerOptions() []ropewalk.ProducerOption {
	c := &s.producer
	timeout := c.timeout
	if timeout == 0 {
		timeout = 100 * 365 * 24 * time.Hour // librdkafka's 0 is no bound
	}
	// Who lingers, and waits for an answer then, has to be done with both in time.
	answer := min(c.answer, timeout-c.linger)
	buffer := int64(c.queueKBytes)<<10 + int64(recordOverhead)*int64(max(c.queueMessages, 1<<20))
	options := []ropewalk.ProducerOption{
		ropewalk.WithDurability(c.durability),
		ropewalk.WithBatchBytes(min(c.batchBytes, mostBatched)),
		ropewalk.WithBatching(ropewalk.Batching{Linger: c.linger, MaxRecords: c.batchRecords}),
		// What is queued is counted here: the core never has anybody wait for memory.
		ropewalk.WithBufferBytes(int(buffer)),
		ropewalk.WithDeliveryTimeout(timeout),
		ropewalk.WithAnswerTimeout(answer),
		ropewalk.WithRetryBackoff(doubling(s.retryFirst, s.retryLatest)),
		ropewalk.WithMaxInFlight(1), // so that reports come in order, too
	}
	if c.retries < maxInt32 {
		options = append(options, ropewalk.WithMaxRetries(c.retries))
	}
	if s.given["compression.type"] || s.given["compression.codec"] {
		options = append(options, ropewalk.WithCompression(c.compression))
	}
	if c.level > 0 {
		options = append(options, ropewalk.WithCompressionLevel(c.level))
	}
	if s.given["enable.idempotence"] && !c.idempotent {
		options = append(options, ropewalk.WithoutIdempotence(), ropewalk.WithRetryMaybe())
	} else if c.durability != ropewalk.DurabilityQuorum {
		options = append(options, ropewalk.WithRetryMaybe())
	}
	return options
}

// partitioner makes the partitioner of a topic, which tells what of it the core takes.
func (p *Producer) partitioner(topic string) ropewalk.Partitioner {
	sticky := p.s.producer.sticky
	if sticky < 0 {
		sticky = 10 * time.Millisecond
		if p.s.given["linger.ms"] || p.s.given["queue.buffering.max.ms"] {
			sticky = 2 * p.s.producer.linger
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return takingPartitioner{newPartitioner(p.s.producer.partitioner, sticky), p.boxes[topic]}
}

// Produce takes a message and returns; it copies what it needs of it. The report goes to
// deliveryChan, or to Events where that is nil. It fails with ErrQueueFull when too much is not
// reported yet, with ErrMsgSizeTooLarge, with ErrInvalidArg for a message without a topic, with
// ErrFatal when the producer is of no more use (GetFatalError says why), and with ErrState
// after Close. A message that it has refused is not reported.
func (p *Producer) Produce(msg *Message, deliveryChan chan Event) error {
	if err := p.check(); err != nil {
		return err
	}
	d, err := p.newDelivery(msg, deliveryChan)
	if err != nil {
		return err
	}
	return p.queue(d)
}

// Events returns the channel of reports and errors. It is closed by Close.
func (p *Producer) Events() chan Event { return p.events }

// ProduceChannel returns a channel that takes messages, whose reports go to Events; it waits for
// room instead of failing. Close closes it: nobody may write to it then.
//
// Deprecated: call Produce.
func (p *Producer) ProduceChannel() chan *Message { return p.produceChannel }

// Len is how many messages are not reported yet, with the events that were not read and the
// messages in ProduceChannel.
func (p *Producer) Len() int {
	p.mu.Lock()
	n := p.count
	p.mu.Unlock()
	return n + len(p.events) + len(p.produceChannel)
}

// Flush waits until every message is reported and every event read, without lingering, or for so
// many milliseconds. It returns how many are left, as Len does: who does not read Events never
// gets to 0.
func (p *Producer) Flush(timeoutMs int) int {
	ctx, cancel := context.WithTimeout(p.ctx, time.Duration(max(timeoutMs, 0))*time.Millisecond)
	defer cancel()
	for {
		left := p.Len()
		if left == 0 || ctx.Err() != nil {
			return left
		}
		p.flushCore(ctx)
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// flushCore has the core send what waits, for a short while.
func (p *Producer) flushCore(ctx context.Context) {
	select {
	case <-p.started:
	default:
		return
	}
	if p.core != nil {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_ = p.core.Flush(ctx) // Len says what is left
	}
}

// Purge gives up messages, which are reported with ErrPurgeQueue or ErrPurgeInflight. The flags
// are PurgeQueue, PurgeInFlight and PurgeNonBlocking, or several of them; others fail with
// ErrInvalidArg. A message that waits for a broker, or for what its topic is like, is queued: with
// PurgeInFlight alone it is sent when they are there. One that is given up in flight may be in the
// log all the same.
func (p *Producer) Purge(flags int) error {
	if err := p.check(); err != nil {
		return err
	}
	if flags&^(PurgeQueue|PurgeInFlight|PurgeNonBlocking) != 0 {
		return errorf(ErrInvalidArg, "unknown flags %#x", flags)
	}
	if flags&PurgeQueue != 0 {
		p.purgeQueue()
	}
	if flags&PurgeInFlight != 0 {
		p.purgeInFlight()
	}
	return nil
}

// GetFatalError returns the error after which the producer is of no more use, or nil. There is one
// when another producer took its place, the log is damaged, or it is not allowed to write.
func (p *Producer) GetFatalError() error {
	if err := p.check(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fatal
}

// TestFatalError makes the producer fail for good, for tests of programs: Produce returns the error
// from then on. It returns ErrPrevInProgress when it has failed before.
func (p *Producer) TestFatalError(code ErrorCode, str string) ErrorCode {
	if !p.fail(Error{code: code, str: "test_fatal_error: " + str, fatal: true}) {
		return ErrPrevInProgress
	}
	return ErrNoError
}

// fail has the producer be of no more use; it reports false when it was so before.
func (p *Producer) fail(e Error) bool {
	p.mu.Lock()
	first := p.fatal == nil
	if first {
		p.fatal = e
	}
	p.mu.Unlock()
	if first {
		p.tell(e)
	}
	return first
}

// tell brings an event that is no report. Where nobody reads events it is logged alone.
func (p *Producer) tell(e Event) {
	p.telling.Lock()
	defer p.telling.Unlock()
	if p.silent {
		return
	}
	select {
	case p.events <- e:
	default:
		p.log.Warn("an event was not read", "event", e.String())
	}
}

// Close ends the producer, and closes Events and ProduceChannel. It sends what it was given, for
// 5 s at most, and reports what Events has room for; who wants to see every report calls Flush
// before. librdkafka's drops what Flush has not seen out. Closing again does nothing.
func (p *Producer) Close() {
	if !p.closed.CompareAndSwap(false, true) {
		return
	}
	close(p.produceChannel)
	p.seeOut()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.cancel()
	if p.connected() && p.core != nil {
		if err := p.core.Abort(); err != nil {
			p.log.Warn("the producer was not closed in order", "error", err)
		}
	}
	p.runners.Wait()
	close(p.gone)
	<-p.intake
	<-p.delivered
	if err := p.shut(); err != nil {
		p.log.Warn("the client was not closed in order", "error", err)
	}
	p.telling.Lock()
	p.silent = true
	p.telling.Unlock()
	close(p.events)
}

// seeOut waits for reports, as long as Close may and there is something to wait for: not without a
// broker, and not for a channel that nobody reads.
func (p *Producer) seeOut() {
	ctx, cancel := context.WithTimeout(p.ctx, farewell)
	defer cancel()
	stuck := time.Now()
	for last := -1; ctx.Err() == nil && (p.connected() || !p.failing.Load()); {
		p.mu.Lock()
		left, unsettled := p.count, p.open.first != nil
		p.mu.Unlock()
		if left += len(p.produceChannel); left == 0 && p.intakeDone() {
			return
		}
		if left != last || unsettled {
			last, stuck = left, time.Now()
		} else if time.Since(stuck) > patience {
			return
		}
		p.flushCore(ctx)
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (p *Producer) intakeDone() bool {
	select {
	case <-p.intake:
		return true
	default:
		return false
	}
}
