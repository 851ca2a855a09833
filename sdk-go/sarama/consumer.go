package sarama

import (
	"context"
	"sync"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Where a partition is read from, beside a given offset.
const (
	// OffsetNewest stands for the offset that the next message will get.
	OffsetNewest int64 = -1
	// OffsetOldest stands for the first message that the partition still has.
	OffsetOldest int64 = -2
)

// What is counted in Config.MetricRegistry when messages were deleted before they were read. For a
// partition consumer that is what it had to end for; for a consumer group, what it left out as
// Consumer.Group.ResetInvalidOffsets says.
const (
	metricGaps        = "consumer-gaps"
	metricGapMessages = "consumer-gap-messages"
)

// Consumer reads partitions. It must be closed, after its partition consumers.
type Consumer interface {
	// Topics returns the names of all topics, as Client.Topics does.
	Topics() ([]string, error)
	// Partitions returns the partitions of a topic, as Client.Partitions does.
	Partitions(topic string) ([]int32, error)
	// ConsumePartition reads a partition, from an offset, OffsetNewest or OffsetOldest. When it
	// returns, that place is fixed: what is produced afterwards is delivered, also with
	// OffsetNewest. An offset that the partition does not have is ErrOffsetOutOfRange, a topic or
	// partition that does not exist ErrUnknownTopicOrPartition, and a partition that this consumer
	// reads already a ConfigurationError.
	ConsumePartition(topic string, partition int32, offset int64) (PartitionConsumer, error)
	// HighWaterMarks returns the high water marks of the partitions that are being read.
	HighWaterMarks() map[string]map[int32]int64
	// Close ends the consumer, and its connection if that is its own. Partition consumers that are
	// still open end. Closing again does nothing.
	Close() error
	// Pause stops delivery of partitions that are being read; Resume goes on with it. A partition
	// that is closed and read again meanwhile is still paused.
	Pause(topicPartitions map[string][]int32)
	Resume(topicPartitions map[string][]int32)
	// PauseAll and ResumeAll do that for all of them.
	PauseAll()
	ResumeAll()
}

type consumer struct {
	config *Config
	client Client
	core   *ropewalk.Client
	// end gives back the client, or closes it.
	end func() error

	gaps, gapMessages func(n int64)
	// ofGroup: it reads the claims of a consumer group, which counts the gaps that it leaves out,
	// and whose sessions end with a topic.
	ofGroup bool

	mu       sync.Mutex
	closed   bool
	children map[ropewalk.TopicPartition]*partitionConsumer
	paused   map[ropewalk.TopicPartition]bool
}

// NewConsumer connects to the brokers and makes a consumer. A nil config stands for the defaults.
func NewConsumer(addrs []string, config *Config) (Consumer, error) {
	client, err := NewClient(addrs, config)
	if err != nil {
		return nil, err
	}
	c, err := newConsumer(client, true)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// NewConsumerFromClient makes a consumer that shares a client. The client stays open when the
// consumer is closed.
func NewConsumerFromClient(client Client) (Consumer, error) {
	c, err := newConsumer(client, false)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// newConsumer makes a consumer over a client, which it closes in the end if that is its own.
func newConsumer(client Client, own bool) (*consumer, error) {
	core, end, err := useClient(client, own)
	if err != nil {
		return nil, err
	}
	config := client.Config()
	return &consumer{
		config: config, client: client, core: core, end: end,
		gaps: config.count(metricGaps), gapMessages: config.count(metricGapMessages),
		children: map[ropewalk.TopicPartition]*partitionConsumer{},
		paused:   map[ropewalk.TopicPartition]bool{},
	}, nil
}

// useClient takes the core client behind a client. The end gives it back, and closes the client
// where it is the taker's own.
func useClient(client Client, own bool) (*ropewalk.Client, func() error, error) {
	core, release, err := coreOf(client)
	if !own {
		return core, release, err
	}
	if err != nil {
		_ = client.Close() // the error that counts is there
		return nil, nil, err
	}
	return core, func() error {
		err := release()
		if e := client.Close(); e != nil {
			err = e
		}
		return err
	}, nil
}

func (c *consumer) Topics() ([]string, error) { return c.client.Topics() }

func (c *consumer) Partitions(topic string) ([]int32, error) { return c.client.Partitions(topic) }

func (c *consumer) ConsumePartition(
	topic string, partition int32, offset int64,
) (PartitionConsumer, error) {
	child, err := c.consume(context.Background(), topic, partition, offset)
	if err != nil {
		return nil, err
	}
	return child, nil
}

// consume opens a partition. The context bounds the opening only.
func (c *consumer) consume(
	ctx context.Context, topic string, partition int32, offset int64,
) (*partitionConsumer, error) {
	start := ropewalk.StartOffset(offset)
	switch {
	case offset == OffsetNewest:
		start = ropewalk.StartLatest()
	case offset == OffsetOldest:
		start = ropewalk.StartEarliest()
	case offset < 0:
		return nil, ErrOffsetOutOfRange
	}
	if err := c.mayUse(topic); err != nil {
		return nil, err
	}
	child := newPartitionConsumer(c, ropewalk.TopicPartition{Topic: topic, Partition: partition})
	if err := c.claim(child); err != nil {
		return nil, err
	}
	if err := child.begin(ctx, start, offset); err != nil {
		child.startStop()
		c.release(child)
		return nil, mapError(err)
	}
	child.start = child.next
	c.mu.Lock()
	child.open = true
	closed := c.closed
	c.mu.Unlock()
	if closed {
		// Nobody would close it any more.
		child.AsyncClose()
	}
	go withRecover(child.run)
	return child, nil
}

// mayUse looks whether topics exist, where they are not to be created by their first use.
func (c *consumer) mayUse(topics ...string) error {
	if c.config.Metadata.AllowAutoTopicCreation {
		return nil
	}
	return c.client.RefreshMetadata(topics...)
}

// claim reserves a partition for a child: one is read once at a time.
func (c *consumer) claim(child *partitionConsumer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosedClient
	}
	if c.children[child.place] != nil {
		return ConfigurationError("That topic/partition is already being consumed")
	}
	if c.paused[child.place] {
		child.Pause()
	}
	c.children[child.place] = child
	return nil
}

func (c *consumer) release(child *partitionConsumer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.children, child.place)
}

// gap counts messages that are left out, or that end a partition consumer.
func (c *consumer) gap(messages int64) {
	c.gaps(1)
	c.gapMessages(messages)
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
	if topicPartitions != nil {
		c.pause(c.list(topicPartitions))
	}
}

func (c *consumer) PauseAll() { c.pause(c.list(nil)) }

func (c *consumer) pause(children []*partitionConsumer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, child := range children {
		c.paused[child.place] = true
		child.Pause()
	}
}

func (c *consumer) Resume(topicPartitions map[string][]int32) {
	if topicPartitions == nil {
		return
	}
	c.mu.Lock()
	for topic, partitions := range topicPartitions {
		for _, partition := range partitions {
			delete(c.paused, ropewalk.TopicPartition{Topic: topic, Partition: partition})
		}
	}
	c.mu.Unlock()
	for _, child := range c.list(topicPartitions) {
		child.Resume()
	}
}

func (c *consumer) ResumeAll() {
	c.mu.Lock()
	clear(c.paused)
	c.mu.Unlock()
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
	for _, child := range c.list(nil) {
		child.AsyncClose()
		<-child.ended
	}
	return c.end()
}
