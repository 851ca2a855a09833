// Sarama-producer sends one message and prints where it went. But for the import line, it is a program
// for Kafka.
package main

import (
	"fmt"
	"log"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func main() {
	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Retry.Max = 5
	config.Producer.Return.Successes = true

	producer, err := sarama.NewSyncProducer([]string{"localhost:9092"}, config)
	if err != nil {
		log.Fatal("Failed to start producer: ", err)
	}
	defer producer.Close()

	msg := &sarama.ProducerMessage{
		Topic: "example-topic",
		Value: sarama.StringEncoder("Hello, Kafka!"),
	}
	partition, offset, err := producer.SendMessage(msg)
	if err != nil {
		log.Fatal("Failed to send message: ", err)
	}
	fmt.Printf("Message sent to partition %d at offset %d\n", partition, offset)
}
