// Reads errors from a channel of their own, and finds out what cannot be consumed.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"

	"github.com/IBM/sarama"
)

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Consumer.Return.Errors = true
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	for range 5 {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: "errors-channel", Value: sarama.StringEncoder("x"),
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		log.Fatal(err)
	}

	consumer, err := sarama.NewConsumer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	for _, offset := range []int64{6, -3} {
		_, err := consumer.ConsumePartition("errors-channel", 0, offset)
		fmt.Println(offset, "is out of range:", errors.Is(err, sarama.ErrOffsetOutOfRange))
	}
	_, err = consumer.ConsumePartition("errors-channel", 7, 0)
	fmt.Println("no such partition:", errors.Is(err, sarama.ErrUnknownTopicOrPartition))

	partition, err := consumer.ConsumePartition("errors-channel", 0, sarama.OffsetOldest)
	if err != nil {
		log.Fatal(err)
	}
	_, err = consumer.ConsumePartition("errors-channel", 0, sarama.OffsetOldest)
	var configuration sarama.ConfigurationError
	fmt.Println("consumed already:", errors.As(err, &configuration))

	var wg sync.WaitGroup
	var failed int
	wg.Add(1)
	go func() {
		defer wg.Done()
		for err := range partition.Errors() {
			fmt.Println(err.Topic, err.Partition, err.Err)
			failed++
		}
	}()
	for i := range 5 {
		if message := <-partition.Messages(); message.Offset != int64(i) {
			log.Fatal("out of order")
		}
	}
	partition.AsyncClose()
	for range partition.Messages() {
	}
	wg.Wait()
	fmt.Println("errors:", failed, "closed:", consumer.Close())
	topics, err := consumer.Topics()
	fmt.Println("after the end:", topics == nil, err == sarama.ErrClosedClient)
}

// Output:
// 6 is out of range: true
// -3 is out of range: true
// no such partition: true
// consumed already: true
// errors: 0 closed: <nil>
// after the end: true true
