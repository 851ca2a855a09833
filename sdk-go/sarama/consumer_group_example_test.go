package sarama_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// printer is a handler that prints what it gets, and marks it.
type printer struct{}

func (printer) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (printer) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (printer) ConsumeClaim(
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
		case <-session.Context().Done():
			return nil
		}
	}
}

// A member of a group calls Consume in a loop: it returns whenever partitions move.
func ExampleNewConsumerGroup() {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	group, err := sarama.NewConsumerGroup([]string{"localhost:9092"}, "billing", config)
	if err != nil {
		log.Fatal(err)
	}
	defer group.Close()

	ctx := context.Background() // until the program is to end
	for ctx.Err() == nil {
		err := group.Consume(ctx, []string{"orders"}, printer{})
		if errors.Is(err, sarama.ErrClosedConsumerGroup) {
			return
		}
		if err != nil {
			log.Print(err)
		}
	}
}

// A program that assigns partitions to itself keeps its place in them with an offset manager.
func ExampleNewOffsetManagerFromClient() {
	server, err := testserver.New() // stands in for the broker at localhost:9092
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	client, err := sarama.NewClient([]string{server.Address()}, config)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	producer, err := sarama.NewSyncProducer([]string{server.Address()}, config)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	order := &sarama.ProducerMessage{Topic: "orders", Value: sarama.StringEncoder("an order")}
	if _, _, err := producer.SendMessage(order); err != nil {
		log.Fatal(err)
	}

	offsets, err := sarama.NewOffsetManagerFromClient("billing", client)
	if err != nil {
		log.Fatal(err)
	}
	defer offsets.Close()
	place, err := offsets.ManagePartition("orders", 0)
	if err != nil {
		log.Fatal(err)
	}
	next, _ := place.NextOffset()
	fmt.Println("nothing is committed yet:", next == config.Consumer.Offsets.Initial)
	place.MarkOffset(1, "read by the example")
	offsets.Commit()
	next, metadata := place.NextOffset()
	fmt.Println("next:", next, metadata)
	// Output:
	// nothing is committed yet: true
	// next: 1 read by the example
}
