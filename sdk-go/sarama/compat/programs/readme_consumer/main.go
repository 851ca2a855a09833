// A consumer of one partition until it is interrupted, as in sarama's documentation.
package main

import (
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	consumer, err := sarama.NewConsumer(brokers, sarama.NewConfig())
	if err != nil {
		panic(err)
	}
	defer func() {
		if err := consumer.Close(); err != nil {
			log.Fatalln(err)
		}
	}()

	partitionConsumer, err := consumer.ConsumePartition("readme-consumer", 0, sarama.OffsetNewest)
	if err != nil {
		panic(err)
	}
	defer func() {
		if err := partitionConsumer.Close(); err != nil {
			log.Fatalln(err)
		}
	}()

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	go produce(brokers)

	consumed := 0
ConsumerLoop:
	for {
		select {
		case msg := <-partitionConsumer.Messages():
			fmt.Printf("Consumed message offset %d\n", msg.Offset)
			if consumed++; consumed == 3 {
				self, _ := os.FindProcess(os.Getpid())
				_ = self.Signal(os.Interrupt)
			}
		case <-signals:
			break ConsumerLoop
		case <-time.After(time.Minute):
			log.Fatal("nothing came")
		}
	}
	fmt.Printf("Consumed: %d\n", consumed)
}

// produce sends what is to be read once the consumer is there.
func produce(brokers []string) {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatalln(err)
	}
	defer func() { _ = producer.Close() }()
	for range 3 {
		message := &sarama.ProducerMessage{
			Topic: "readme-consumer", Value: sarama.StringEncoder("testing 123"),
		}
		if _, _, err := producer.SendMessage(message); err != nil {
			log.Fatalln(err)
		}
	}
}

// Output:
// Consumed message offset 0
// Consumed message offset 1
// Consumed message offset 2
// Consumed: 3
