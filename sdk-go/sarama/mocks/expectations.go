package mocks

import (
	"sync"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// expectation is a message that is to come: how it is checked, and what becomes of it.
type expectation struct {
	result error
	check  MessageChecker
}

// expectations is what both mock producers have: what is to come, and how it is placed.
type expectations struct {
	t              ErrorReporter
	newPartitioner sarama.PartitionerConstructor
	topics         *TopicConfig

	mu           sync.Mutex
	list         []expectation
	partitioners map[string]sarama.Partitioner
	lastOffset   int64
}

func newExpectations(t ErrorReporter, config *sarama.Config, topics *TopicConfig) *expectations {
	return &expectations{
		t: t, newPartitioner: config.Producer.Partitioner, topics: topics,
		partitioners: map[string]sarama.Partitioner{},
	}
}

func (e *expectations) add(check MessageChecker, result error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, expectation{result, check})
}

// take takes the expectations of as many messages; it reports false if there are fewer.
func (e *expectations) take(messages int) ([]expectation, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.list) < messages {
		return nil, false
	}
	taken := e.list[:messages:messages]
	e.list = e.list[messages:]
	return taken, true
}

// meet gives a message its outcome.
func (e *expectations) meet(msg *sarama.ProducerMessage, expected expectation) error {
	if err := e.place(msg); err != nil {
		e.t.Errorf("Partitioner returned an error: %s", err.Error())
		return err
	}
	if expected.check != nil {
		if err := expected.check(msg); err != nil {
			e.t.Errorf("Check function returned an error: %s", err.Error())
			return err
		}
	}
	if expected.result != nil {
		return expected.result
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lastOffset++
	msg.Offset = e.lastOffset
	return nil
}

// place asks the partitioner of a message's topic, one message at a time.
func (e *expectations) place(msg *sarama.ProducerMessage) error {
	partitions := e.topics.partitions(msg.Topic)
	e.mu.Lock()
	defer e.mu.Unlock()
	partitioner := e.partitioners[msg.Topic]
	if partitioner == nil {
		partitioner = e.newPartitioner(msg.Topic)
		e.partitioners[msg.Topic] = partitioner
	}
	partition, err := partitioner.Partition(msg, partitions)
	if err == nil {
		msg.Partition = partition
	}
	return err
}

// exhausted reports what has not come.
func (e *expectations) exhausted() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.list) > 0 {
		e.t.Errorf("Expected to exhaust all expectations, but %d are left.", len(e.list))
	}
}
