package mocks

import (
	"sync"
	"sync/atomic"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// PartitionConsumer is a sarama.PartitionConsumer that yields what it is told to. There is room for
// ChannelBufferSize messages and as many errors that are not read; who yields more waits.
type PartitionConsumer struct {
	t         ErrorReporter
	topic     string
	partition int32
	offset    int64
	messages  chan *sarama.ConsumerMessage
	errors    chan *sarama.ConsumerError
	highWater atomic.Int64
	closeOnce sync.Once
	closing   chan struct{}

	// yielding is held by whoever writes to a channel, so that none is closed meanwhile, and
	// messages keep their order.
	yielding sync.Mutex
	// held are the messages that were yielded while paused.
	held []*sarama.ConsumerMessage

	mu              sync.Mutex
	consumed        bool
	paused          bool
	messagesDrained bool
	errorsDrained   bool
}

func newPartitionConsumer(
	t ErrorReporter, topic string, partition int32, offset int64, room int,
) *PartitionConsumer {
	pc := &PartitionConsumer{
		t: t, topic: topic, partition: partition, offset: offset,
		messages: make(chan *sarama.ConsumerMessage, room),
		errors:   make(chan *sarama.ConsumerError, room),
		closing:  make(chan struct{}),
	}
	if offset != sarama.OffsetOldest {
		pc.highWater.Store(offset)
	}
	return pc
}

// start takes the consumer into use; it reports false if it is already.
func (pc *PartitionConsumer) start() bool {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	if pc.consumed {
		return false
	}
	pc.consumed = true
	return true
}

// AsyncClose closes the channels; what is in them can still be read.
func (pc *PartitionConsumer) AsyncClose() {
	pc.closeOnce.Do(func() {
		close(pc.closing) // whoever yields stops to wait
		pc.yielding.Lock()
		defer pc.yielding.Unlock()
		close(pc.messages)
		close(pc.errors)
	})
}

// Close reports what was to be read and was not, closes, and returns the errors that nobody has
// read as a ConsumerErrors. A consumer that was never started is reported too.
func (pc *PartitionConsumer) Close() error {
	pc.mu.Lock()
	consumed, messages, errors := pc.consumed, pc.messagesDrained, pc.errorsDrained
	pc.mu.Unlock()
	if !consumed {
		pc.t.Errorf("Expectations set on %s/%d, but no partition consumer was started.",
			pc.topic, pc.partition)
		return errNotStarted
	}
	if left := len(pc.errors); errors && left > 0 {
		pc.t.Errorf("Expected the errors channel for %s/%d to be drained on close, "+
			"but found %d errors.", pc.topic, pc.partition, left)
	}
	if left := len(pc.messages); messages && left > 0 {
		pc.t.Errorf("Expected the messages channel for %s/%d to be drained on close, "+
			"but found %d messages.", pc.topic, pc.partition, left)
	}
	pc.AsyncClose()
	var errs sarama.ConsumerErrors
	for err := range pc.errors {
		errs = append(errs, err)
	}
	for range pc.messages { // what is left is not for anybody
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// Errors is the channel of what YieldError yields.
func (pc *PartitionConsumer) Errors() <-chan *sarama.ConsumerError { return pc.errors }

// Messages is the channel of what YieldMessage yields.
func (pc *PartitionConsumer) Messages() <-chan *sarama.ConsumerMessage { return pc.messages }

// HighWaterMarkOffset is the offset after the last message that was yielded. It stands still while
// the consumer is paused.
func (pc *PartitionConsumer) HighWaterMarkOffset() int64 { return pc.highWater.Load() }

// Pause has messages that are yielded held back. Those that are in the channel stay there.
func (pc *PartitionConsumer) Pause() {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	pc.paused = true
}

// Resume yields what was held back, and goes on.
func (pc *PartitionConsumer) Resume() {
	pc.yielding.Lock()
	defer pc.yielding.Unlock()
	pc.mu.Lock()
	pc.paused = false
	pc.mu.Unlock()
	for _, msg := range pc.held {
		pc.put(msg)
	}
	pc.held = nil
}

// IsPaused reports whether it is paused.
func (pc *PartitionConsumer) IsPaused() bool {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	return pc.paused
}

// put gives a message its offset and puts it into the channel. The caller holds yielding.
func (pc *PartitionConsumer) put(msg *sarama.ConsumerMessage) {
	msg.Offset = pc.highWater.Add(1) - 1
	select {
	case <-pc.closing: // the channel is closed, or about to be
		return
	default:
	}
	select {
	case pc.messages <- msg:
	case <-pc.closing:
	}
}

// YieldMessage has a message consumed; it is given its topic, partition and offset. What is yielded
// after the consumer was closed is dropped.
func (pc *PartitionConsumer) YieldMessage(msg *sarama.ConsumerMessage) *PartitionConsumer {
	pc.yielding.Lock()
	defer pc.yielding.Unlock()
	msg.Topic, msg.Partition = pc.topic, pc.partition
	if pc.IsPaused() {
		msg.Offset = pc.highWater.Load() + int64(len(pc.held))
		pc.held = append(pc.held, msg)
		return pc
	}
	pc.put(msg)
	return pc
}

// YieldError has an error consumed.
func (pc *PartitionConsumer) YieldError(err error) *PartitionConsumer {
	pc.yielding.Lock()
	defer pc.yielding.Unlock()
	e := &sarama.ConsumerError{Topic: pc.topic, Partition: pc.partition, Err: err}
	select {
	case <-pc.closing:
		return pc
	default:
	}
	select {
	case pc.errors <- e:
	case <-pc.closing:
	}
	return pc
}

// ExpectMessagesDrainedOnClose has messages that nobody has read reported when it is closed.
func (pc *PartitionConsumer) ExpectMessagesDrainedOnClose() *PartitionConsumer {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	pc.messagesDrained = true
	return pc
}

// ExpectErrorsDrainedOnClose has errors that nobody has read reported when it is closed.
func (pc *PartitionConsumer) ExpectErrorsDrainedOnClose() *PartitionConsumer {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	pc.errorsDrained = true
	return pc
}
