package mocks

import (
	"maps"
	"slices"
	"sync"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// Consumer is a sarama.Consumer of partitions that it was told to expect.
type Consumer struct {
	t      ErrorReporter
	config *sarama.Config

	mu         sync.Mutex
	partitions map[string]map[int32]*PartitionConsumer
	metadata   map[string][]int32
}

// NewConsumer makes a mock. What is not as expected is reported to t, usually the *testing.T of the
// test. A nil config stands for the defaults; another one is validated.
func NewConsumer(t ErrorReporter, config *sarama.Config) *Consumer {
	return &Consumer{
		t: t, config: checked(t, config),
		partitions: map[string]map[int32]*PartitionConsumer{},
	}
}

// ConsumePartition returns the partition consumer that is expected. When none is, that is reported
// and returned; another offset than expected is reported. A partition that is consumed already is a
// ConfigurationError.
func (c *Consumer) ConsumePartition(
	topic string, partition int32, offset int64,
) (sarama.PartitionConsumer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pc := c.partitions[topic][partition]
	if pc == nil {
		c.t.Errorf("No expectations set for %s/%d", topic, partition)
		return nil, errOutOfExpectations
	}
	if !pc.start() {
		return nil, sarama.ConfigurationError("The topic/partition is already being consumed")
	}
	if pc.offset != AnyOffset && pc.offset != offset {
		c.t.Errorf("Unexpected offset when calling ConsumePartition for %s/%d. Expected %d, got %d.",
			topic, partition, pc.offset, offset)
	}
	return pc, nil
}

// Topics returns the topics of SetTopicMetadata, in no order. Without them that is reported, and
// ErrOutOfBrokers is returned.
func (c *Consumer) Topics() ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.metadata == nil {
		c.t.Errorf("Unexpected call to Topics. " +
			"Initialize the mock's topic metadata with SetTopicMetadata.")
		return nil, sarama.ErrOutOfBrokers
	}
	return slices.Collect(maps.Keys(c.metadata)), nil
}

// Partitions returns the partitions that a topic has by SetTopicMetadata. Without that it is
// reported, and ErrOutOfBrokers is returned; of a topic that it does not name
// ErrUnknownTopicOrPartition.
func (c *Consumer) Partitions(topic string) ([]int32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.metadata == nil {
		c.t.Errorf("Unexpected call to Partitions. " +
			"Initialize the mock's topic metadata with SetTopicMetadata.")
		return nil, sarama.ErrOutOfBrokers
	}
	if c.metadata[topic] == nil {
		return nil, sarama.ErrUnknownTopicOrPartition
	}
	return c.metadata[topic], nil
}

// HighWaterMarks returns the high water marks of all partitions that are expected.
func (c *Consumer) HighWaterMarks() map[string]map[int32]int64 {
	marks := map[string]map[int32]int64{}
	for _, pc := range c.list(nil) {
		if marks[pc.topic] == nil {
			marks[pc.topic] = map[int32]int64{}
		}
		marks[pc.topic][pc.partition] = pc.HighWaterMarkOffset()
	}
	return marks
}

// Close closes all partition consumers, and reports what they report.
func (c *Consumer) Close() error {
	for _, pc := range c.list(nil) {
		_ = pc.Close() // what it returns is for those who call it themselves
	}
	return nil
}

// list returns the partitions that are expected, or those of them that are named.
func (c *Consumer) list(named map[string][]int32) []*PartitionConsumer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*PartitionConsumer
	for topic, partitions := range c.partitions {
		for number, pc := range partitions {
			if named == nil || slices.Contains(named[topic], number) {
				list = append(list, pc)
			}
		}
	}
	return list
}

// Pause pauses partitions.
func (c *Consumer) Pause(topicPartitions map[string][]int32) {
	if topicPartitions != nil {
		c.pause(topicPartitions)
	}
}

// Resume resumes partitions.
func (c *Consumer) Resume(topicPartitions map[string][]int32) {
	if topicPartitions != nil {
		c.resume(topicPartitions)
	}
}

// PauseAll pauses all partitions.
func (c *Consumer) PauseAll() { c.pause(nil) }

// ResumeAll resumes all partitions.
func (c *Consumer) ResumeAll() { c.resume(nil) }

func (c *Consumer) pause(named map[string][]int32) {
	for _, pc := range c.list(named) {
		pc.Pause()
	}
}

func (c *Consumer) resume(named map[string][]int32) {
	for _, pc := range c.list(named) {
		pc.Resume()
	}
}

// SetTopicMetadata sets what Topics and Partitions return.
func (c *Consumer) SetTopicMetadata(metadata map[string][]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.metadata = metadata
}

// ExpectConsumePartition expects a partition to be consumed from an offset, OffsetOldest,
// OffsetNewest or AnyOffset, and returns its consumer, to say what that yields. When it is not
// consumed until the mock is closed, that is reported. Called again for a partition it returns the
// same consumer.
func (c *Consumer) ExpectConsumePartition(
	topic string, partition int32, offset int64,
) *PartitionConsumer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.partitions[topic] == nil {
		c.partitions[topic] = map[int32]*PartitionConsumer{}
	}
	pc := c.partitions[topic][partition]
	if pc == nil {
		pc = newPartitionConsumer(c.t, topic, partition, offset, c.config.ChannelBufferSize)
		c.partitions[topic][partition] = pc
	}
	return pc
}
