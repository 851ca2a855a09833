// Hands what it cannot process to a topic of dead letters, with the reason in the headers.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"github.com/IBM/sarama"
)

const (
	orders  = "dead-letters-orders"
	letters = "dead-letters"
)

type processor struct {
	producer sarama.SyncProducer
	done     context.CancelFunc
	sum      int
}

func (p *processor) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (p *processor) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (p *processor) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for message := range claim.Messages() {
		if err := p.process(message); err != nil {
			if err := p.bury(message, err); err != nil {
				return err
			}
		}
		session.MarkMessage(message, "")
		if string(message.Value) == "end" {
			p.done()
		}
	}
	return nil
}

var errNegative = errors.New("negative")

func (p *processor) process(message *sarama.ConsumerMessage) error {
	if string(message.Value) == "end" {
		return nil
	}
	n, err := strconv.Atoi(string(message.Value))
	if err == nil && n < 0 {
		err = errNegative
	}
	if err == nil {
		p.sum += n
	}
	return err
}

func (p *processor) bury(message *sarama.ConsumerMessage, reason error) error {
	letter := &sarama.ProducerMessage{
		Topic: letters, Key: sarama.ByteEncoder(message.Key), Value: sarama.ByteEncoder(message.Value),
		Headers: []sarama.RecordHeader{
			{Key: []byte("reason"), Value: []byte(reason.Error())},
			{Key: []byte("from"), Value: fmt.Appendf(nil, "%s/%d/%d",
				message.Topic, message.Partition, message.Offset)},
		},
	}
	_, _, err := p.producer.SendMessage(letter)
	return err
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	for _, text := range []string{"1", "x", "2", "-3", "4", "end"} {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: orders, Value: sarama.StringEncoder(text),
		})
		if err != nil {
			log.Fatal(err)
		}
	}

	group, err := sarama.NewConsumerGroup(brokers, orders, config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, done := context.WithCancel(context.Background())
	p := &processor{producer: producer, done: done}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{orders}, p); err != nil {
			log.Fatal(err)
		}
	}
	if err := group.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("sum", p.sum)

	consumer, err := sarama.NewConsumer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(letters, 0, sarama.OffsetOldest)
	if err != nil {
		log.Fatal(err)
	}
	defer partition.Close()
	for range 2 {
		letter := <-partition.Messages()
		fmt.Printf("%s: %s (%s)\n", letter.Value, letter.Headers[0].Value, letter.Headers[1].Value)
	}
}

// Output:
// sum 7
// x: strconv.Atoi: parsing "x": invalid syntax (dead-letters-orders/0/1)
// -3: negative (dead-letters-orders/0/3)
