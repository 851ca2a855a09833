package mocks_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
	"github.com/ropewalk/ropewalk/sdk-go/sarama/mocks"
)

// A function that adds up the messages of a partition, and the test of it.
func ExampleConsumer() {
	consumer := mocks.NewConsumer(printer{}, nil) // t, in a test
	consumer.SetTopicMetadata(map[string][]int32{"readings": {0}})
	yield := func(partition *mocks.PartitionConsumer, values ...string) {
		for _, value := range values {
			partition.YieldMessage(&sarama.ConsumerMessage{Value: []byte(value)})
		}
		partition.YieldError(sarama.ErrOutOfBrokers).ExpectMessagesDrainedOnClose()
	}
	yield(consumer.ExpectConsumePartition("readings", 0, sarama.OffsetOldest), "12", "30")

	total, err := sum(consumer, "readings")
	fmt.Println(total, errors.Is(err, sarama.ErrOutOfBrokers))
	if err := consumer.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: 42 true
}

// sum is what is tested: it takes any sarama.Consumer, and reads until there is an error.
func sum(consumer sarama.Consumer, topic string) (total int, err error) {
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		return 0, err
	}
	defer partition.Close()
	for range 2 {
		var reading int
		if _, err := fmt.Sscan(string((<-partition.Messages()).Value), &reading); err != nil {
			return total, err
		}
		total += reading
	}
	return total, <-partition.Errors()
}

// Two sessions of a group: the second goes on where the first was committed, as after a rebalance.
func ExampleGroupSession() {
	group := mocks.NewConsumerGroup(printer{}, nil) // t, in a test
	expect := func(offset int64, name string) *mocks.GroupSession {
		session := group.ExpectSession().EndAfterMessages().ExpectMarked("names", 0, offset+1)
		session.ExpectClaim("names", 0, offset).
			YieldMessage(&sarama.ConsumerMessage{Value: []byte(name)})
		return session
	}
	sessions := []*mocks.GroupSession{expect(0, "world"), expect(1, "moon")}

	// What is tested calls this, in a loop.
	for range sessions {
		if err := group.Consume(context.Background(), []string{"names"}, greeter{}); err != nil {
			fmt.Println(err)
		}
	}
	for _, session := range sessions {
		offset, _, ok := session.Marked("names", 0)
		fmt.Println("marked", offset, ok)
	}
	_ = group.Close()
	// Output:
	// hello, world
	// hello, moon
	// marked 1 true
	// marked 2 true
}
