// Tries its consumer out against mocks instead of a broker.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/IBM/sarama"
	"github.com/IBM/sarama/mocks"
)

type reporter struct{ failures int }

func (r *reporter) Errorf(format string, args ...interface{}) {
	r.failures++
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// sum adds the lengths of the first messages of a partition.
func sum(consumer sarama.Consumer, n int) (total int, err error) {
	partition, err := consumer.ConsumePartition("numbers", 0, sarama.OffsetOldest)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, partition.Close()) }()
	for i := 0; i < n; i++ {
		select {
		case message := <-partition.Messages():
			total += len(message.Value)
		case failure := <-partition.Errors():
			return total, failure.Err
		}
	}
	return total, nil
}

func main() {
	t := &reporter{}
	config := mocks.NewTestConfig()
	config.Consumer.Return.Errors = true
	consumer := mocks.NewConsumer(t, config)
	consumer.SetTopicMetadata(map[string][]int32{"numbers": {0, 1}})
	topics, err := consumer.Topics()
	fmt.Println(topics, err)
	partitions, err := consumer.Partitions("numbers")
	fmt.Println(len(partitions), err)

	expected := consumer.ExpectConsumePartition("numbers", 0, sarama.OffsetOldest)
	expected.YieldMessage(&sarama.ConsumerMessage{Value: []byte("one")})
	expected.YieldMessage(&sarama.ConsumerMessage{Value: []byte("three")})
	expected.ExpectMessagesDrainedOnClose()
	fmt.Println(sum(consumer, 2))
	fmt.Println("high water mark", consumer.HighWaterMarks()["numbers"][0])
	fmt.Println("closed", consumer.Close(), "failed expectations:", t.failures)

	failing := mocks.NewConsumer(t, config)
	failing.ExpectConsumePartition("numbers", 0, mocks.AnyOffset).YieldError(sarama.ErrOutOfBrokers)
	_, err = sum(failing, 1)
	fmt.Println("fails:", errors.Is(err, sarama.ErrOutOfBrokers), t.failures)

	unmet := &reporter{}
	unread := mocks.NewConsumer(unmet, nil)
	unread.ExpectConsumePartition("numbers", 1, sarama.OffsetNewest)
	_ = unread.Close()
	fmt.Println("unmet expectations are reported:", unmet.failures > 0)
}

// Output:
// [numbers] <nil>
// 2 <nil>
// 8 <nil>
// high water mark 2
// closed <nil> failed expectations: 0
// fails: true 0
// unmet expectations are reported: true
