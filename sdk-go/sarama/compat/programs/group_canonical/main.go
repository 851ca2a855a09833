// A member of a consumer group as most programs write it: a loop around Consume, a channel that
// says when it is ready, and an end by context.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"

	"github.com/IBM/sarama"
)

type consumer struct {
	ready  chan bool
	values chan string
}

func (c *consumer) Setup(sarama.ConsumerGroupSession) error {
	close(c.ready)
	return nil
}

func (c *consumer) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (c *consumer) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			session.MarkMessage(message, "")
			c.values <- string(message.Value)
		case <-session.Context().Done():
			return nil
		}
	}
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	produce(brokers, "group-canonical", 10)

	config := sarama.NewConfig()
	config.Version = sarama.DefaultVersion
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{
		sarama.NewBalanceStrategySticky(),
	}
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	client, err := sarama.NewConsumerGroup(brokers, "group-canonical", config)
	if err != nil {
		log.Panicf("Error creating consumer group client: %v", err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	handler := &consumer{ready: make(chan bool), values: make(chan string, 16)}
	wg := &sync.WaitGroup{}
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			if err := client.Consume(ctx, []string{"group-canonical"}, handler); err != nil {
				if errors.Is(err, sarama.ErrClosedConsumerGroup) {
					return
				}
				log.Panicf("Error from consumer: %v", err)
			}
			if ctx.Err() != nil {
				return
			}
			handler.ready = make(chan bool)
		}
	}()

	<-handler.ready
	fmt.Println("up and running")
	for range 10 {
		fmt.Println(<-handler.values)
	}
	cancel()
	wg.Wait()
	if err := client.Close(); err != nil {
		log.Panicf("Error closing client: %v", err)
	}

	// What was marked is committed at the end of the session.
	admin, err := sarama.NewClusterAdmin(brokers, config)
	if err != nil {
		log.Panic(err)
	}
	defer admin.Close()
	offsets, err := admin.ListConsumerGroupOffsets("group-canonical",
		map[string][]int32{"group-canonical": {0}})
	if err != nil {
		log.Panic(err)
	}
	fmt.Println("committed", offsets.GetBlock("group-canonical", 0).Offset)
}

func produce(brokers []string, topic string, n int) {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Panic(err)
	}
	defer producer.Close()
	for i := range n {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: topic, Value: sarama.StringEncoder(fmt.Sprint("message ", i)),
		})
		if err != nil {
			log.Panic(err)
		}
	}
}

// Output:
// up and running
// message 0
// message 1
// message 2
// message 3
// message 4
// message 5
// message 6
// message 7
// message 8
// message 9
// committed 10
