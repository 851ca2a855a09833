package sarama_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// printer is a handler of a consumer group that prints what it gets, and marks it as read.
type printer struct{ done func() }

var _ sarama.ConsumerGroupHandler = printer{}

// Setup is called when a session has its claims, Cleanup when all of them have ended.
func (printer) Setup(session sarama.ConsumerGroupSession) error {
	fmt.Println("claims", session.Claims())
	return nil
}

func (printer) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim runs for each claim, in a goroutine of its own, and returns when the session ends.
func (p printer) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			fmt.Printf("%s/%d %d: %s\n", message.Topic, message.Partition, message.Offset, message.Value)
			session.MarkMessage(message, "")
			if message.Offset+1 == claim.HighWaterMarkOffset() {
				p.done() // a program goes on
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

// A member of a group calls Consume in a loop: it returns whenever partitions move.
func ExampleConsumerGroup() {
	addrs, stop := exampleBroker() // localhost:9092
	defer stop()
	produceTexts(addrs, "orders", "first", "second")

	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	group, err := sarama.NewConsumerGroup(addrs, "billing", config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // until the program is to end
	defer cancel()
	for ctx.Err() == nil {
		err := group.Consume(ctx, []string{"orders"}, printer{done: cancel})
		if errors.Is(err, sarama.ErrClosedConsumerGroup) {
			return
		}
		if err != nil {
			log.Print(err)
		}
	}
	if err := group.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// claims map[orders:[0]]
	// orders/0 0: first
	// orders/0 1: second
}

// A program that assigns partitions to itself keeps its place in them with an offset manager.
func ExampleOffsetManager() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()
	produceTexts(addrs, "orders", "an order")
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	client, err := sarama.NewClient(addrs, config)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	offsets, err := sarama.NewOffsetManagerFromClient("billing", client)
	if err != nil {
		log.Fatal(err)
	}
	place, err := offsets.ManagePartition("orders", 0)
	if err != nil {
		log.Fatal(err)
	}

	tell := func(place sarama.PartitionOffsetManager) {
		next, metadata := place.NextOffset()
		fmt.Printf("oldest: %v, next: %d %q\n", next == sarama.OffsetOldest, next, metadata)
	}
	tell(place)
	place.MarkOffset(1, "read by the example")
	offsets.Commit()
	tell(place)
	for _, c := range []interface{ Close() error }{place, offsets} {
		if err := c.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// oldest: true, next: -2 ""
	// oldest: false, next: 1 "read by the example"
}
