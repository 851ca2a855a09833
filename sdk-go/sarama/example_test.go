package sarama_test

import (
	"fmt"
	"log"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func Example() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()

	consumer, err := sarama.NewConsumer(addrs, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	partitionConsumer, err := consumer.ConsumePartition("example-topic", 0, sarama.OffsetNewest)
	if err != nil {
		log.Fatal(err)
	}
	defer partitionConsumer.Close()

	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer(addrs, config)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	partition, offset, err := producer.SendMessage(&sarama.ProducerMessage{
		Topic: "example-topic",
		Value: sarama.StringEncoder("Hello, Kafka!"),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("partition", partition, "offset", offset)

	message := <-partitionConsumer.Messages()
	fmt.Println(string(message.Value))
	// Output:
	// partition 0 offset 0
	// Hello, Kafka!
}
