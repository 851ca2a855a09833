// Keys and values that are empty, and those that are not there.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	for _, message := range []*sarama.ProducerMessage{
		{Key: sarama.StringEncoder("key"), Value: sarama.StringEncoder("value")},
		{Key: sarama.StringEncoder("tombstone")},
		{Key: sarama.StringEncoder(""), Value: sarama.StringEncoder("")},
		{Value: sarama.ByteEncoder{}},
		{},
	} {
		message.Topic = "key-and-nil"
		if _, _, err := producer.SendMessage(message); err != nil {
			log.Fatal(err)
		}
	}
	consumer, err := sarama.NewConsumer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition("key-and-nil", 0, sarama.OffsetOldest)
	if err != nil {
		log.Fatal(err)
	}
	defer partition.Close()
	for range 5 {
		message := <-partition.Messages()
		fmt.Printf("%d: key %q (%t) value %q (%t) headers %d\n", message.Offset,
			message.Key, message.Key == nil, message.Value, message.Value == nil, len(message.Headers))
	}
}

// Output:
// 0: key "key" (false) value "value" (false) headers 0
// 1: key "tombstone" (false) value "" (true) headers 0
// 2: key "" (false) value "" (false) headers 0
// 3: key "" (true) value "" (false) headers 0
// 4: key "" (true) value "" (true) headers 0
