package sarama

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// AsyncProducer produces messages in the background. Each message that is sent to Input comes back
// once, as the pointer that it was: on Successes, if Producer.Return.Successes is set, or on
// Errors, if Producer.Return.Errors is. Of each partition they are produced, and come back, in the
// order in which they were sent, also when batches are sent again.
//
// A channel that is enabled must be read: one that is full holds up the other one, and then Input.
// So a program that is slow to read is slowed down, and loses nothing. It must be closed.
//
// A topic that has to be looked up first, or created, holds up no other, unless more messages of it
// are waiting than ChannelBufferSize, and than 256, or there are more than 1000 such topics, or 16
// MiB of them.
//
// A partitioner or an encoder that panics ends the program, unless there is a PanicHandler: that is
// called, the message comes back with an error, and the producer goes on, where sarama's does not.
// What panics in an interceptor is logged, and the message goes on, as in sarama.
type AsyncProducer interface {
	// AsyncClose begins to close. What was sent before is produced; both channels must be read
	// until they are closed, which is the end.
	AsyncClose()

	// Close closes and waits for the end. It reads what is left: successes are dropped, and errors
	// are returned, as a ProducerErrors. Closing again does nothing. It must be called before the
	// client is closed that the producer was made from.
	Close() error

	// Input is where messages are sent to. It is never closed, so that a message that comes late
	// does no harm, where sarama panics: after AsyncClose it comes back on Errors as
	// ErrShuttingDown, and after Errors is closed it is dropped, with a line to Logger. A nil
	// message is ignored.
	//
	// Call Input for each message, as in a select: what is sent to a channel that was got before
	// the end, and long after it, stays in it, and nobody may be there to make room. The end waits
	// up to 100 ms for those who have called Input and not sent yet. A select that calls Input and
	// takes another case counts among them: after one, Close takes the 100 ms.
	Input() chan<- *ProducerMessage

	// Successes is the channel of messages that were produced. It is closed at the end.
	Successes() <-chan *ProducerMessage

	// Errors is the channel of messages that were not produced, and why. It is closed at the end.
	// Without Producer.Return.Errors they are logged.
	Errors() <-chan *ProducerError

	// IsTransactional is always false: there are no transactions yet.
	IsTransactional() bool
	// TxnStatus is always ProducerTxnFlagUninitialized.
	TxnStatus() ProducerTxnStatusFlag
	// BeginTxn returns ErrNonTransactedProducer, and so do the others.
	BeginTxn() error
	CommitTxn() error
	AbortTxn() error
	AddOffsetsToTxn(offsets map[string][]*PartitionOffsetMetadata, groupId string) error
	AddOffsetsToTxnWithGroupMetadata(
		offsets map[string][]*PartitionOffsetMetadata, groupMetadata *ConsumerGroupMetadata) error
	AddMessageToTxn(msg *ConsumerMessage, groupId string, metadata *string) error
	AddMessageToTxnWithGroupMetadata(
		msg *ConsumerMessage, groupMetadata *ConsumerGroupMetadata, metadata *string) error
}

type asyncProducer struct {
	*producer
	input     chan *ProducerMessage
	successes chan *ProducerMessage
	errors    chan *ProducerError
	results   *results
	waiting   waitingTopics

	// inputs counts the calls of Input, and taken the messages that came of them, which is take's.
	inputs atomic.Int64
	taken  int64
	// lateFor is how long late messages are waited for.
	lateFor time.Duration

	closeOnce sync.Once
	closeSoon atomic.Bool   // AsyncClose was called
	closeCall chan struct{} // the same, to wait for
	delivered chan struct{} // the other channels are closed
	over      chan struct{} // take does not wait for those who call Input from here on
	ended     chan struct{} // nothing of the producer runs any more
	late      lateMessages
}

// NewAsyncProducer connects to the brokers and makes a producer. A nil config stands for the
// defaults.
func NewAsyncProducer(addrs []string, config *Config) (AsyncProducer, error) {
	config, err := orDefault(config)
	if err != nil {
		return nil, err
	}
	p, err := dialProducer(addrs, config)
	if err != nil {
		return nil, err
	}
	return newAsyncProducer(p), nil
}

// NewAsyncProducerFromClient makes a producer on a client, which the program closes itself, after
// the producer.
func NewAsyncProducerFromClient(client Client) (AsyncProducer, error) {
	p, err := shareProducer(client)
	if err != nil {
		return nil, err
	}
	return newAsyncProducer(p), nil
}

// leastInput is the least room of Input, for those who send at the moment of the end.
const leastInput = 64

func newAsyncProducer(common *producer) *asyncProducer {
	size := common.config.ChannelBufferSize
	p := &asyncProducer{
		producer:  common,
		input:     make(chan *ProducerMessage, max(size, leastInput)),
		successes: make(chan *ProducerMessage, size),
		errors:    make(chan *ProducerError, size),
		results:   newResults(),
		closeCall: make(chan struct{}),
		delivered: make(chan struct{}),
		over:      make(chan struct{}),
		ended:     make(chan struct{}),
		lateFor:   lateFor,
	}
	p.waiting.init(p)
	go withRecover(p.take)
	go withRecover(p.deliver)
	return p
}

func (p *asyncProducer) Input() chan<- *ProducerMessage {
	p.inputs.Add(1) // before the look at the end: one of the two waits for the message
	select {
	case <-p.over:
		p.late.drop(p.input)
	default:
	}
	return p.input
}

func (p *asyncProducer) Successes() <-chan *ProducerMessage { return p.successes }

func (p *asyncProducer) Errors() <-chan *ProducerError { return p.errors }

func (p *asyncProducer) AsyncClose() {
	p.closeOnce.Do(func() {
		p.closeSoon.Store(true)
		close(p.closeCall)
	})
}

func (p *asyncProducer) Close() error {
	p.AsyncClose()
	var errs ProducerErrors
	successes, failures := p.successes, p.errors
	for successes != nil || failures != nil {
		select {
		case _, open := <-successes:
			if !open {
				successes = nil
			}
		case err, open := <-failures:
			if !open {
				failures = nil
				continue
			}
			errs = append(errs, err)
		}
	}
	<-p.ended
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// take hands messages to the core until the producer is to close, and sees it to its end.
func (p *asyncProducer) take() {
	defer close(p.ended)
	for {
		m, open := p.next()
		if !open {
			break
		}
		p.taken++
		p.send(m)
	}
	// What was sent before AsyncClose is in the channel by now.
	for range len(p.input) {
		p.send(p.receive())
	}
	finished := make(chan struct{})
	go withRecover(func() {
		defer close(finished)
		p.waiting.wait()
		p.finish()
	})
	p.refuseUntil(finished)
	p.results.complete()
	p.refuseUntil(p.delivered)
	close(p.over)
	p.refuseLate()
}

// refuseUntil answers what still comes.
func (p *asyncProducer) refuseUntil(end <-chan struct{}) {
	for {
		select {
		case m := <-p.input:
			p.taken++
			p.refuse(m)
		case <-end:
			return
		}
	}
}

// refuseLate waits for those who have called Input and not sent yet. Nobody of them must wait for
// ever, and no message vanish.
func (p *asyncProducer) refuseLate() {
	limit := time.NewTimer(p.lateFor)
	defer limit.Stop()
	for !p.allTaken() {
		select {
		case m := <-p.input:
			p.taken++
			p.refuse(m)
			continue
		case <-limit.C:
		}
		break
	}
	// Those who come late take from the channel as well: what is seen in it may be gone.
	for {
		select {
		case m := <-p.input:
			p.taken++
			p.refuse(m)
		default:
			return
		}
	}
}

func (p *asyncProducer) receive() *ProducerMessage {
	p.taken++
	return <-p.input
}

// allTaken reports whether nobody is about to send: each call of Input has brought its message. Who
// calls it once for many messages, or for none, cannot be known to be done.
func (p *asyncProducer) allTaken() bool { return p.inputs.Load() == p.taken }

// next waits for a message; it reports false once the producer is to close. A busy channel is
// looked at alone first: that costs half of what the wait for two does.
func (p *asyncProducer) next() (*ProducerMessage, bool) {
	if p.closeSoon.Load() {
		return nil, false
	}
	select {
	case m := <-p.input:
		return m, true
	default:
	}
	select {
	case m := <-p.input:
		return m, true
	case <-p.closeCall:
		return nil, false
	}
}

// An underway is a message that the core has. It is used again, with all that it has.
type underway struct {
	record   ropewalk.Record
	producer *asyncProducer
	message  *ProducerMessage
	done     func(*ropewalk.Record, ropewalk.Ack, error)
}

var underways sync.Pool

func newUnderway(p *asyncProducer, m *ProducerMessage) *underway {
	u, ok := underways.Get().(*underway)
	if !ok {
		u = &underway{}
		u.done = u.answered
	}
	u.producer, u.message = p, m
	return u
}

func (u *underway) recycle() {
	u.record = ropewalk.Record{Headers: cleared(u.record.Headers)}
	u.producer, u.message = nil, nil
	underways.Put(u)
}

// answered is called by the core, in a goroutine that must not wait.
func (u *underway) answered(_ *ropewalk.Record, ack ropewalk.Ack, err error) {
	p, r := u.producer, result{message: u.message, err: err, weight: weightOf(&u.record)}
	u.recycle()
	if err == nil {
		if !p.config.Producer.Return.Successes {
			return
		}
		p.producer.answered(r.message, ack)
	}
	p.results.put(r)
}

// send hands a message to the core, and then waits while the program does not read what came back.
func (p *asyncProducer) send(m *ProducerMessage) {
	if m == nil {
		ignoreNil()
		return
	}
	if size, err := p.admit(m); err != nil {
		p.fail(m, size, err)
	} else if !p.waiting.join(m, size) {
		p.sendAtOnce(m, size)
	}
	p.results.awaitRoom()
}

// sendAtOnce hands a message over, or has it wait for what is to be known of its topic.
func (p *asyncProducer) sendAtOnce(m *ProducerMessage, size int) {
	u := newUnderway(p, m)
	switch err := p.prepareAtOnce(m, &u.record); err {
	case errTopicUnknown, ErrInvalidPartition:
		u.recycle()
		p.waiting.begin(waitingMessage{m, size, err == ErrInvalidPartition})
	default:
		p.handOver(u, size, err)
	}
}

// handOver gives a message that is prepared to the core, or answers it with the error of that.
func (p *asyncProducer) handOver(u *underway, size int, err error) {
	m := u.message
	if err == nil {
		err = p.core.SendAsync(context.Background(), &u.record, u.done)
	}
	if err != nil {
		p.fail(m, size, err)
		u.recycle()
	}
}

// fail answers a message that the core does not have; it reports false once nobody can be told.
func (p *asyncProducer) fail(m *ProducerMessage, size int, err error) bool {
	return p.results.put(result{message: m, err: err, weight: weightOfSize(size)})
}

func ignoreNil() { Logger.Println("a nil message was sent to a producer: it is ignored") }

// refuse answers a message that came after AsyncClose.
func (p *asyncProducer) refuse(m *ProducerMessage) {
	if m == nil {
		ignoreNil()
		return
	}
	if !p.fail(m, sizeOf(m), ErrShuttingDown) {
		dropLate(m)
		return
	}
	p.results.awaitRoom()
}

// sizeOf is the size of a message that is not sent; 0 where its encoder cannot tell.
func sizeOf(m *ProducerMessage) (size int) {
	var err error
	defer recovered(&err)
	return m.ByteSize(2)
}

func dropLate(m *ProducerMessage) {
	if m != nil {
		Logger.Println("dropped:", &ProducerError{Msg: m, Err: ErrShuttingDown})
	}
}

// deliver moves results to the channels until all are there.
func (p *asyncProducer) deliver() {
	defer close(p.delivered)
	for batch := p.results.take(); batch != nil; batch = p.results.take() {
		for i := range batch {
			r := batch[i]
			batch[i] = result{} // the array is used again
			p.report(r)
			p.results.read(r.weight)
		}
	}
	close(p.successes)
	close(p.errors)
}

func (p *asyncProducer) report(r result) {
	if r.err == nil {
		p.successes <- r.message
		return
	}
	err := &ProducerError{Msg: r.message, Err: p.failure(r.err)}
	if !p.config.Producer.Return.Errors {
		Logger.Println(err)
		return
	}
	p.errors <- err
}

// lateFor is how long messages are waited for that are sent after the end, from each call of Input.
const lateFor = 100 * time.Millisecond

// lateMessages drops what is sent after the end, so that senders do not wait for ever.
type lateMessages struct {
	mu      sync.Mutex
	running bool
	asked   bool
}

// drop has a goroutine take what comes soon.
func (l *lateMessages) drop(input <-chan *ProducerMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = true
	if !l.running {
		l.running = true
		go l.run(input)
	}
}

func (l *lateMessages) run(input <-chan *ProducerMessage) {
	for l.again() {
		timer := time.NewTimer(lateFor)
		for waiting := true; waiting; {
			select {
			case m := <-input:
				dropLate(m)
			case <-timer.C:
				waiting = false
			}
		}
	}
}

// again reports whether Input was called since it did so last.
func (l *lateMessages) again() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running, l.asked = l.asked, false
	return l.running
}
