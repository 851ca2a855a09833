// A handler that fails: the error comes over Errors, the session ends, and the program goes on.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

const topic = "group-errors"

var errPoison = errors.New("poison")

type handler struct {
	sessions int
	skip     bool
	cancel   context.CancelFunc
	events   []string
}

func (h *handler) Setup(sarama.ConsumerGroupSession) error {
	h.sessions++
	h.events = append(h.events, "setup")
	return nil
}

func (h *handler) Cleanup(sarama.ConsumerGroupSession) error {
	h.events = append(h.events, "cleanup")
	return nil
}

func (h *handler) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for message := range claim.Messages() {
		if string(message.Value) == "poison" && !h.skip {
			h.skip = true
			return errPoison
		}
		h.events = append(h.events, string(message.Value))
		session.MarkMessage(message, "")
		if string(message.Value) == "last" {
			h.cancel()
		}
	}
	return nil
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Consumer.Return.Errors = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"first", "poison", "last"} {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: topic, Value: sarama.StringEncoder(text),
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		log.Fatal(err)
	}

	group, err := sarama.NewConsumerGroup(brokers, topic, config)
	if err != nil {
		log.Fatal(err)
	}
	failures := make(chan error, 16)
	go func() {
		defer close(failures)
		for err := range group.Errors() {
			failures <- err
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	h := &handler{cancel: cancel}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{topic}, h); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(h.events, "sessions:", h.sessions)
	fmt.Println("closed:", group.Close())
	failure := <-failures
	var consumerError *sarama.ConsumerError
	fmt.Println("told:", errors.Is(failure, errPoison), errors.As(failure, &consumerError))
	if consumerError != nil {
		fmt.Println(consumerError.Topic, consumerError.Partition)
	}
	err = group.Consume(context.Background(), []string{topic}, h)
	fmt.Println("after the end:", errors.Is(err, sarama.ErrClosedConsumerGroup))
}

// Output:
// [setup first cleanup setup poison last cleanup] sessions: 2
// closed: <nil>
// told: true true
// group-errors 0
// after the end: true
