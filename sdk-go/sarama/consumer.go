package sarama

import (
	"context"
	"errors"
	"sync"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Where a partition is read from, beside a given offset.
const (
	// OffsetNewest stands for the offset that the next message will get.
	OffsetNewest int64 = -1
	// OffsetOldest stands for the first message that the partition still has.
	OffsetOldest int64 = -2
)

// ConsumerMessage is a message as it was read.
type ConsumerMessage struct {
	Headers   []*RecordHeader
	Timestamp time.Time

	Key, Value []byte
	Topic      string
	Partition  int32
	Offset     int64
}

// Consumer reads partitions. It must be closed, after its partition consumers.
type Consumer interface {
	// Topics returns the names of all topics.
	Topics() ([]string, error)
	// Partitions returns the partitions of a topic.
	Partitions(topic string) ([]int32, error)
	// ConsumePartition reads a partition, from an offset, OffsetNewest or OffsetOldest. When it
	// returns, that place is fixed: what is produced afterwards is delivered, also with
	// OffsetNewest. An offset that the partition does not have is ErrOffsetOutOfRange.
	ConsumePartition(topic string, partition int32, offset int64) (PartitionConsumer, error)
	// HighWaterMarks returns the high water marks of the partitions that are being read.
	HighWaterMarks() map[string]map[int32]int64
	// Close closes the connection. Partition consumers that are still open end.
	Close() error
	// Pause stops delivery of partitions that are being read; Resume goes on with it.
	Pause(topicPartitions map[string][]int32)
	Resume(topicPartitions map[string][]int32)
	// PauseAll and ResumeAll do that for all of them.
	PauseAll()
	ResumeAll()
}

// PartitionConsumer delivers the messages of one partition. It must be closed.
type PartitionConsumer interface {
	// AsyncClose begins to close; Messages and Errors are closed when it is done, and must be
	// read until then.
	AsyncClose()
	// Close closes, and returns the errors that nobody has read as a ConsumerErrors.
	Close() error
	// Messages is the channel of messages. It is closed at the end.
	Messages() <-chan *ConsumerMessage
	// Errors is the channel of errors, if Consumer.Return.Errors is set. It is closed at the end.
	Errors() <-chan *ConsumerError
	// HighWaterMarkOffset is the offset that the next message of the partition will get, as last
	// heard.
	HighWaterMarkOffset() int64
	// Pause stops delivery after what is in the channel; Resume goes on with it.
	Pause()
	Resume()
	IsPaused() bool
}

type consumer struct {
	config *Config
	client *ropewalk.Client

	mu       sync.Mutex
	closed   bool
	children map[ropewalk.TopicPartition]*partitionConsumer
}

// NewConsumer connects to the brokers and makes a consumer. A nil config stands for the defaults.
func NewConsumer(addrs []string, config *Config) (Consumer, error) {
	config, err := orDefault(config)
	if err != nil {
		return nil, err
	}
	client, err := connect(addrs, config)
	if err != nil {
		return nil, err
	}
	return &consumer{
		config: config, client: client, children: map[ropewalk.TopicPartition]*partitionConsumer{},
	}, nil
}

func (c *consumer) Topics() ([]string, error) {
	topics, err := c.client.Admin().ListTopics(context.Background(), "")
	if err != nil {
		return nil, mapError(err)
	}
	names := make([]string, 0, len(topics))
	for _, topic := range topics {
		names = append(names, topic.Name)
	}
	return names, nil
}

func (c *consumer) Partitions(topic string) ([]int32, error) {
	count, err := c.client.Partitions(context.Background(), topic)
	if err != nil {
		return nil, mapError(err)
	}
	partitions := make([]int32, count)
	for i := range partitions {
		partitions[i] = int32(i)
	}
	return partitions, nil
}

func (c *consumer) ConsumePartition(
	topic string, partition int32, offset int64,
) (PartitionConsumer, error) {
	start := ropewalk.StartOffset(offset)
	switch {
	case offset == OffsetNewest:
		start = ropewalk.StartLatest()
	case offset == OffsetOldest:
		start = ropewalk.StartEarliest()
	case offset < 0:
		return nil, ErrOffsetOutOfRange
	}
	child := &partitionConsumer{
		consumer: c,
		place:    ropewalk.TopicPartition{Topic: topic, Partition: partition},
		messages: make(chan *ConsumerMessage, c.config.ChannelBufferSize),
		errors:   make(chan *ConsumerError, c.config.ChannelBufferSize),
		resumed:  make(chan struct{}),
		ended:    make(chan struct{}),
	}
	close(child.resumed)
	if err := c.claim(child); err != nil {
		return nil, err
	}
	if err := child.begin(start, offset); err != nil {
		c.release(child)
		return nil, mapError(err)
	}
	c.mu.Lock()
	child.open = true
	c.mu.Unlock()
	go child.run()
	return child, nil
}

// claim reserves a partition for a child: one is read once at a time.
func (c *consumer) claim(child *partitionConsumer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosedClient
	}
	if c.children[child.place] != nil {
		return ConfigurationError("this consumer reads that partition already")
	}
	c.children[child.place] = child
	return nil
}

func (c *consumer) release(child *partitionConsumer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.children, child.place)
}

func (c *consumer) HighWaterMarks() map[string]map[int32]int64 {
	marks := map[string]map[int32]int64{}
	for _, child := range c.list(nil) {
		topic := marks[child.place.Topic]
		if topic == nil {
			topic = map[int32]int64{}
			marks[child.place.Topic] = topic
		}
		topic[child.place.Partition] = child.HighWaterMarkOffset()
	}
	return marks
}

// list returns the open children, or those of them that are named.
func (c *consumer) list(named map[string][]int32) []*partitionConsumer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*partitionConsumer
	if named == nil {
		for _, child := range c.children {
			if child.open {
				list = append(list, child)
			}
		}
	}
	for topic, partitions := range named {
		for _, partition := range partitions {
			child := c.children[ropewalk.TopicPartition{Topic: topic, Partition: partition}]
			if child != nil && child.open {
				list = append(list, child)
			}
		}
	}
	return list
}

func (c *consumer) Pause(topicPartitions map[string][]int32) {
	if topicPartitions == nil {
		return
	}
	for _, child := range c.list(topicPartitions) {
		child.Pause()
	}
}

func (c *consumer) Resume(topicPartitions map[string][]int32) {
	if topicPartitions == nil {
		return
	}
	for _, child := range c.list(topicPartitions) {
		child.Resume()
	}
}

func (c *consumer) PauseAll() {
	for _, child := range c.list(nil) {
		child.Pause()
	}
}

func (c *consumer) ResumeAll() {
	for _, child := range c.list(nil) {
		child.Resume()
	}
}

func (c *consumer) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if again {
		return nil
	}
	return mapError(c.client.Close())
}

type partitionConsumer struct {
	consumer *consumer
	place    ropewalk.TopicPartition
	core     *ropewalk.Consumer
	messages chan *ConsumerMessage
	errors   chan *ConsumerError
	open     bool // guarded by the consumer's lock: core is there

	closing   context.Context
	startStop context.CancelFunc
	ended     chan struct{}

	mu      sync.Mutex
	paused  bool
	resumed chan struct{} // closed while delivery goes on
}

// begin fixes the place to read from.
func (p *partitionConsumer) begin(start ropewalk.Start, offset int64) error {
	config := p.consumer.config
	pause := func(attempt int) time.Duration {
		if f := config.Consumer.Retry.BackoffFunc; f != nil {
			return f(attempt)
		}
		return config.Consumer.Retry.Backoff
	}
	var err error
	p.core, err = p.consumer.client.NewConsumer(context.Background(),
		ropewalk.WithPartition(p.place.Topic, p.place.Partition, start),
		ropewalk.WithFetchBytes(int(config.Consumer.Fetch.Default)),
		ropewalk.WithReconnectBackoff(pause),
		// In the core's goroutine: an error that finds no room is dropped there rather than
		// holding up the reconnect.
		ropewalk.WithErrorHandler(func(err error) { p.report(err, false) }),
	)
	if err != nil {
		return err
	}
	p.closing, p.startStop = context.WithCancel(context.Background())
	at, _ := p.core.Position(p.place.Topic, p.place.Partition)
	if offset >= 0 && offset < at.LogStart {
		if err := p.core.Close(); err != nil {
			return err
		}
		return ErrOffsetOutOfRange // as it is, so that it can be compared with ==
	}
	return nil
}

// run moves records to the channel until the end.
func (p *partitionConsumer) run() {
	defer p.finish()
	for {
		record, err := p.core.Next(p.closing)
		switch {
		case err == nil:
			if !p.deliver(record) {
				return
			}
		case p.closing.Err() != nil, errors.Is(err, ropewalk.ReasonClosed):
			return
		default:
			// As in sarama, lost messages end the partition consumer, so that the program chooses
			// where to go on.
			p.report(err, true)
			return
		}
	}
}

func (p *partitionConsumer) finish() {
	p.startStop()
	if err := p.core.Close(); err != nil {
		Logger.Printf("closing the reader of %s/%d: %v\n", p.place.Topic, p.place.Partition, err)
	}
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
	select {
	case p.messages <- message:
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
	at, _ := p.core.Position(p.place.Topic, p.place.Partition)
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
