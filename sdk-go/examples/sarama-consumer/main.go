// Sarama-consumer prints the messages that are produced while it runs, until Ctrl-C. But for the import
// line, it is a program for Kafka.
package main

import (
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func main() {
	config := sarama.NewConfig()
	config.Consumer.Return.Errors = true

	consumer, err := sarama.NewConsumer([]string{"localhost:9092"}, config)
	if err != nil {
		log.Fatal("Failed to start consumer: ", err)
	}
	defer consumer.Close()

	partitionConsumer, err := consumer.ConsumePartition("example-topic", 0, sarama.OffsetNewest)
	if err != nil {
		log.Fatal("Failed to start partition consumer: ", err)
	}
	defer partitionConsumer.Close()

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	for {
		select {
		case message, ok := <-partitionConsumer.Messages():
			if !ok { // it has ended
				for err := range partitionConsumer.Errors() {
					log.Println("Failed to consume:", err)
				}
				return
			}
			fmt.Printf("Received message: %s\n", string(message.Value))
		case err, ok := <-partitionConsumer.Errors():
			if ok {
				log.Println("Failed to consume:", err)
			}
		case <-signals:
			signal.Stop(signals) // the next one ends the program at once
			return
		}
	}
}
