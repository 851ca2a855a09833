package mocks

import (
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// ErrorReporter is what mocks report to; *testing.T is one.
type ErrorReporter interface {
	Errorf(string, ...any)
}

// ValueChecker looks at the value of a message; its error fails the test.
type ValueChecker func(val []byte) error

// MessageChecker looks at a message that has its partition; its error fails the test.
type MessageChecker func(*sarama.ProducerMessage) error

// AnyOffset stands for any offset that a partition is consumed from. The first message that it
// yields has this offset, as the mark begins there.
const AnyOffset int64 = -1000

var (
	errOutOfExpectations = errors.New("no more expectations set on mock")
	errNotStarted        = errors.New("the partition consumer was never started")
	errNoTransaction     = errors.New(
		"attempt to send message when transaction is not started or is in ending state")
)

// TopicConfig says how many partitions topics have, for the partitioners of a mock producer.
type TopicConfig struct {
	mu       sync.Mutex
	named    map[string]int32
	standard int32
}

// NewTopicConfig has 32 partitions for every topic.
func NewTopicConfig() *TopicConfig {
	return &TopicConfig{named: map[string]int32{}, standard: 32}
}

// SetDefaultPartitions sets the number of partitions of topics that SetPartitions does not name.
func (pc *TopicConfig) SetDefaultPartitions(n int32) {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	pc.standard = n
}

// SetPartitions sets the numbers of partitions of topics, for messages that come after it.
func (pc *TopicConfig) SetPartitions(partitions map[string]int32) {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	maps.Copy(pc.named, partitions)
}

func (pc *TopicConfig) partitions(topic string) int32 {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	if n, found := pc.named[topic]; found {
		return n
	}
	return pc.standard
}

// NewTestConfig returns the defaults, with what suits tests: nothing waits before it is tried
// again.
func NewTestConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Consumer.Retry.Backoff = 0
	config.Producer.Retry.Backoff = 0
	config.Version = sarama.MinVersion
	return config
}

// checked stands in for a nil config, and reports one that is not valid.
func checked(t ErrorReporter, config *sarama.Config) *sarama.Config {
	if config == nil {
		config = sarama.NewConfig()
	}
	if err := config.Validate(); err != nil {
		t.Errorf("Invalid mock configuration provided: %s", err.Error())
	}
	return config
}

// valueChecker has a ValueChecker check messages.
func valueChecker(check ValueChecker) MessageChecker {
	if check == nil {
		return nil
	}
	return func(msg *sarama.ProducerMessage) error {
		if msg.Value == nil {
			return check(nil)
		}
		value, err := msg.Value.Encode()
		if err != nil {
			return fmt.Errorf("Input message encoding failed: %w", err)
		}
		return check(value)
	}
}
