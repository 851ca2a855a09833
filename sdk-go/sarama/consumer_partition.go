package sarama

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// ConsumerMessage is a message as it was read.
type ConsumerMessage struct {
	// Headers are in the order in which they were produced.
	Headers []*RecordHeader
	// Timestamp is the message's time: when it was made or appended, as the topic says.
	Timestamp time.Time
	// BlockTimestamp is not set, as with sarama and brokers of Kafka 0.11 or newer: there are no
	// blocks around messages that would have a time.
	BlockTimestamp time.Time

	// Key and Value are nil where the message has none.
	Key, Value []byte
	// Topic, Partition and Offset are its place.
	Topic     string
	Partition int32
	Offset    int64
}

// PartitionConsumer delivers the messages of one partition. It must be closed.
//
// It ends by itself when messages were deleted before they were read, with ErrOffsetOutOfRange, so
// that the program chooses where to go on; and when Consumer.Retry.Max is set and reached, with
// ErrConsumerRetriesExhausted. Else it reconnects: what goes wrong is logged, and told on Errors
// when Metadata.Retry.Max more tries have failed. A reader that is slow holds up no other
// partition, however slow: it is sent no more than it reads.
//
// When its topic is deleted it stays, and looks for the topic after each Consumer.Retry.Backoff,
// with an ErrUnknownTopicOrPartition on Errors each time. It does not create the topic. In one that
// somebody else creates under the name it goes on at the same offset; where there is none such it
// ends with ErrOffsetOutOfRange. The claim of a consumer group ends with its topic, and the session
// with it.
type PartitionConsumer interface {
	// AsyncClose begins to close; Messages and Errors are closed when it is done, and must be
	// read until then.
	AsyncClose()
	// Close closes, and returns the errors that nobody has read as a ConsumerErrors.
	Close() error
	// Messages is the channel of messages. It is closed at the end.
	Messages() <-chan *ConsumerMessage
	// Errors is the channel of errors, if Consumer.Return.Errors is set. It is closed at the end.
	// What does not end the partition consumer, and finds no room in it, is logged.
	Errors() <-chan *ConsumerError
	// HighWaterMarkOffset is the offset that the next message of the partition will get, as last
	// heard.
	HighWaterMarkOffset() int64
	// Pause stops delivery after what is in the channel; Resume goes on with it.
	Pause()
	Resume()
	// IsPaused reports whether delivery is stopped.
	IsPaused() bool
}

type partitionConsumer struct {
	consumer *consumer
	place    ropewalk.TopicPartition
	core     *ropewalk.Consumer
	messages chan *ConsumerMessage
	errors   chan *ConsumerError
	open     bool // guarded by the consumer's lock: core is there
	// start is where it began; next is the offset after what was delivered, of the goroutine that
	// delivers.
	start, next int64
	// broken is why reading broke off last, of the goroutine that reads.
	broken error

	// closing ends when the program closes it; reading does so too, and when it gives up.
	closing, reading context.Context
	startStop        context.CancelFunc
	giveUp           context.CancelFunc
	exhausted        atomic.Bool
	ended            chan struct{}

	mu      sync.Mutex // of core too, which is another one after its topic was deleted
	paused  bool
	resumed chan struct{} // closed while delivery goes on
}

func newPartitionConsumer(c *consumer, place ropewalk.TopicPartition) *partitionConsumer {
	p := &partitionConsumer{
		consumer: c, place: place,
		messages: make(chan *ConsumerMessage, c.config.ChannelBufferSize),
		errors:   make(chan *ConsumerError, c.config.ChannelBufferSize),
		resumed:  make(chan struct{}),
		ended:    make(chan struct{}),
	}
	close(p.resumed)
	p.closing, p.startStop = context.WithCancel(context.Background())
	p.reading, p.giveUp = context.WithCancel(p.closing)
	return p
}

// begin fixes the place to read from.
func (p *partitionConsumer) begin(
	ctx context.Context, start ropewalk.Start, offset int64,
) error {
	fetch := &p.consumer.config.Consumer.Fetch
	bytes := min(fetch.Default, fetch.MaxBytes)
	if fetch.Max > 0 {
		bytes = min(bytes, fetch.Max)
	}
	core, err := p.consumer.core.NewConsumer(ctx,
		ropewalk.WithPartition(p.place.Topic, p.place.Partition, start),
		ropewalk.WithFetchBytes(int(min(bytes, maxFetchBytes))),
		ropewalk.WithReconnectBackoff(p.reconnects),
		ropewalk.WithErrorHandler(func(err error) { p.broken = err }),
	)
	if err != nil {
		return err
	}
	at, _ := core.Position(p.place.Topic, p.place.Partition)
	if offset >= 0 && offset < at.LogStart {
		if err := core.Close(); err != nil {
			return err
		}
		return ErrOffsetOutOfRange // as it is, so that it can be compared with ==
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.core, p.next = core, at.Offset
	return nil
}

// reader is what reads at present.
func (p *partitionConsumer) reader() *ropewalk.Consumer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.core
}

// reconnects is the pause before a try to read on. What a change of the leader takes is no error to
// the program, as in sarama, which tries as often to find a leader.
func (p *partitionConsumer) reconnects(failures int) time.Duration {
	if failures > p.consumer.config.Metadata.Retry.Max {
		// In the core's goroutine: an error that finds no room is dropped there rather than holding
		// up the reconnect.
		p.report(p.broken, false)
	}
	return p.pauseBefore(failures)
}

// pauseBefore is the pause before a try to read on, of so many failed ones in a row.
func (p *partitionConsumer) pauseBefore(failures int) time.Duration {
	retry := &p.consumer.config.Consumer.Retry
	if retry.Max > 0 && failures > retry.Max {
		p.exhausted.Store(true)
		p.giveUp()
	}
	if retry.BackoffFunc != nil {
		return retry.BackoffFunc(failures)
	}
	return retry.Backoff
}

// run moves records to the channel until the end.
func (p *partitionConsumer) run() {
	defer p.finish()
	for {
		records, err := p.reader().Poll(p.reading)
		switch {
		case err == nil:
			for i := range records {
				if !p.deliver(&records[i]) {
					return
				}
			}
		case p.closing.Err() != nil, errors.Is(err, ropewalk.ReasonClosed):
			return
		case p.exhausted.Load():
			p.report(ErrConsumerRetriesExhausted, true)
			return
		case !p.consumer.ofGroup && isGone(err):
			if !p.awaitTopic(err) {
				return
			}
		default:
			// As in sarama, lost messages end the partition consumer, so that the program chooses
			// where to go on.
			var gap *ropewalk.Gap
			if errors.As(err, &gap) && !p.consumer.ofGroup {
				p.consumer.gap(gap.To - gap.From)
			}
			p.report(err, true)
			return
		}
	}
}

func (p *partitionConsumer) finish() {
	p.startStop()
	p.closeReader()
	p.consumer.release(p)
	close(p.messages)
	close(p.errors)
	close(p.ended)
}

func (p *partitionConsumer) deliver(r *ropewalk.Record) bool {
	p.mu.Lock()
	resumed := p.resumed
	p.mu.Unlock()
	select {
	case <-resumed:
	case <-p.closing.Done():
		return false
	}
	message := &ConsumerMessage{
		Topic:     r.Topic,
		Partition: r.Partition,
		Offset:    r.Offset,
		Key:       r.Key,
		Value:     r.Value,
		Timestamp: r.Timestamp,
	}
	for _, h := range r.Headers {
		message.Headers = append(message.Headers, &RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	message.intercept(p.consumer.config.Consumer.Interceptors)
	select {
	case p.messages <- message:
		p.next = r.Offset + 1
		return true
	case <-p.closing.Done():
		return false
	}
}

// report passes an error to the program, or to the log if it does not want them.
func (p *partitionConsumer) report(err error, wait bool) {
	e := &ConsumerError{Topic: p.place.Topic, Partition: p.place.Partition, Err: mapError(err)}
	if !p.consumer.config.Consumer.Return.Errors {
		Logger.Println(e)
		return
	}
	if wait {
		select {
		case p.errors <- e:
		case <-p.closing.Done():
		}
		return
	}
	select {
	case p.errors <- e:
	default:
		Logger.Println("nobody reads the errors:", e)
	}
}

func (p *partitionConsumer) AsyncClose() { p.startStop() }

func (p *partitionConsumer) Close() error {
	p.AsyncClose()
	var errs ConsumerErrors
	for err := range p.errors {
		errs = append(errs, err)
	}
	<-p.ended
	if len(errs) > 0 {
		return errs
	}
	return nil
}

func (p *partitionConsumer) Messages() <-chan *ConsumerMessage { return p.messages }

func (p *partitionConsumer) Errors() <-chan *ConsumerError { return p.errors }

func (p *partitionConsumer) HighWaterMarkOffset() int64 {
	at, _ := p.reader().Position(p.place.Topic, p.place.Partition)
	return at.HighWatermark
}

func (p *partitionConsumer) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.paused {
		p.paused, p.resumed = true, make(chan struct{})
	}
}

func (p *partitionConsumer) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused {
		p.paused = false
		close(p.resumed)
	}
}

func (p *partitionConsumer) IsPaused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused
}
