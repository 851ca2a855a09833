package sarama_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// One client for a producer, a consumer, and what a program wants to know of topics. It is closed
// after them.
func ExampleClient() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true // a SyncProducer needs them
	client, err := sarama.NewClient(addrs, config)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	for range 3 {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: "clicks", Value: sarama.StringEncoder("/prices"),
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	size := func(client sarama.Client, topic string) (total int64, err error) {
		partitions, err := client.Partitions(topic)
		if err != nil {
			return 0, err
		}
		for _, partition := range partitions {
			oldest, err := client.GetOffset(topic, partition, sarama.OffsetOldest)
			if err != nil {
				return 0, err
			}
			newest, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
			if err != nil {
				return 0, err
			}
			total += newest - oldest
		}
		return total, nil
	}
	total, err := size(client, "clicks")
	fmt.Println(total, "messages", err)
	// Output: 3 messages <nil>
}

// Whether a broker can be reached, without a client.
func ExampleBroker() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()
	reach := func(broker *sarama.Broker) error {
		if err := broker.Open(nil); err != nil {
			return err
		}
		if _, err := broker.Connected(); err != nil { // waits for Open
			return err
		}
		return broker.Close()
	}
	fmt.Println(reach(sarama.NewBroker(addrs[0])))
	stop()
	err := reach(sarama.NewBroker(addrs[0]))
	fmt.Println(errors.Is(err, sarama.ErrOutOfBrokers))
	// Output:
	// <nil>
	// true
}

// All partitions of a topic, read in one goroutine for each, until there is no more.
func ExampleConsumer() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()
	produceTexts(addrs, "readings", "12", "13", "14")
	config := sarama.NewConfig()
	config.Consumer.Return.Errors = true
	consumer, err := sarama.NewConsumer(addrs, config)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()

	read := func(
		partition sarama.PartitionConsumer, handle func(*sarama.ConsumerMessage),
	) *sarama.ConsumerError {
		for {
			select {
			case err := <-partition.Errors():
				return err
			case message := <-partition.Messages():
				handle(message)
				if message.Offset+1 == partition.HighWaterMarkOffset() {
					return nil // a program goes on
				}
			}
		}
	}
	partitions, err := consumer.Partitions("readings")
	if err != nil {
		log.Fatal(err)
	}
	for _, id := range partitions {
		partition, err := consumer.ConsumePartition("readings", id, sarama.OffsetOldest)
		if err != nil {
			log.Fatal(err)
		}
		failure := read(partition, func(m *sarama.ConsumerMessage) {
			fmt.Printf("%d: %s\n", m.Offset, m.Value)
		})
		if failure != nil {
			log.Print(failure) // the topic, the partition, and why
		}
		err = partition.Close()
		var unread sarama.ConsumerErrors
		if errors.As(err, &unread) {
			log.Printf("%d errors that nobody has read", len(unread))
		}
	}
	// Output:
	// 0: 12
	// 1: 13
	// 2: 14
}
