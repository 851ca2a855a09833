// A member of a consumer group as programs of years ago have it: one strategy, by a variable that is
// deprecated since, and a version that is parsed from text.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

type exampleConsumerGroupHandler struct {
	cancel context.CancelFunc
	left   int
}

func (exampleConsumerGroupHandler) Setup(_ sarama.ConsumerGroupSession) error   { return nil }
func (exampleConsumerGroupHandler) Cleanup(_ sarama.ConsumerGroupSession) error { return nil }
func (h *exampleConsumerGroupHandler) ConsumeClaim(
	sess sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for msg := range claim.Messages() {
		fmt.Printf("Message topic:%q partition:%d offset:%d\n", msg.Topic, msg.Partition, msg.Offset)
		sess.MarkMessage(msg, "")
		if h.left--; h.left == 0 {
			h.cancel()
		}
	}
	return nil
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	version, err := sarama.ParseKafkaVersion("2.1.1")
	if err != nil {
		log.Panicf("Error parsing Kafka version: %v", err)
	}
	config := sarama.NewConfig()
	config.Version = version
	config.Consumer.Return.Errors = true
	config.Producer.Return.Successes = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Rebalance.Strategy = sarama.BalanceStrategyRoundRobin

	client, err := sarama.NewClient(brokers, config)
	if err != nil {
		panic(err)
	}
	defer func() { _ = client.Close() }()
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		panic(err)
	}
	for range 3 {
		message := &sarama.ProducerMessage{Topic: "group-old-style", Value: sarama.StringEncoder("x")}
		if _, _, err := producer.SendMessage(message); err != nil {
			panic(err)
		}
	}
	if err := producer.Close(); err != nil {
		panic(err)
	}

	group, err := sarama.NewConsumerGroupFromClient("group-old-style", client)
	if err != nil {
		panic(err)
	}
	go func() {
		for err := range group.Errors() {
			fmt.Println("ERROR", err)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	handler := &exampleConsumerGroupHandler{cancel: cancel, left: 3}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{"group-old-style"}, handler); err != nil {
			panic(err)
		}
	}
	fmt.Println("closed:", group.Close())
	fmt.Println("strategies:", sarama.BalanceStrategyRange.Name(),
		sarama.BalanceStrategyRoundRobin.Name(), sarama.BalanceStrategySticky.Name())
}

// Output:
// Message topic:"group-old-style" partition:0 offset:0
// Message topic:"group-old-style" partition:0 offset:1
// Message topic:"group-old-style" partition:0 offset:2
// closed: <nil>
// strategies: range roundrobin sticky
