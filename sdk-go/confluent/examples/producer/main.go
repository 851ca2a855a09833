// Command producer sends the words of its command line to a topic, and says where each went. It is
// written for confluent-kafka-go; its import line alone is of this module.
//
//	producer localhost:9092 words to send
package main

import (
	"fmt"
	"io"
	"os"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
)

const topic = "myTopic"

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: producer BROKERS WORD...")
		os.Exit(2)
	}
	if err := run(os.Stdout, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(out io.Writer, brokers string, words []string) error {
	p, err := kafka.NewProducer(&kafka.ConfigMap{"bootstrap.servers": brokers})
	if err != nil {
		return err
	}

	reported := make(chan struct{})
	go func() {
		defer close(reported)
		for e := range p.Events() {
			switch ev := e.(type) {
			case *kafka.Message:
				if ev.TopicPartition.Error != nil {
					fmt.Fprintf(out, "Delivery failed: %v\n", ev.TopicPartition)
				} else {
					fmt.Fprintf(out, "Delivered message to %v\n", ev.TopicPartition)
				}
			case kafka.Error:
				fmt.Fprintf(out, "Error: %v\n", ev)
			}
		}
	}()

	topic := topic
	for _, word := range words {
		err := p.Produce(&kafka.Message{
			TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: kafka.PartitionAny},
			Value:          []byte(word),
		}, nil)
		if err != nil {
			return err
		}
	}

	left := p.Flush(15 * 1000)
	p.Close()
	<-reported
	if left > 0 {
		return fmt.Errorf("%d messages were not delivered", left)
	}
	return nil
}
