// Sends messages one by one and says where each went.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

func main() {
	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Retry.Max = 5
	config.Producer.Return.Successes = true

	producer, err := sarama.NewSyncProducer(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		log.Fatalln("no producer:", err)
	}
	defer func() {
		if err := producer.Close(); err != nil {
			log.Fatalln("closing:", err)
		}
	}()

	for _, text := range []string{"first", "second", "third"} {
		message := &sarama.ProducerMessage{
			Topic: "sync-producer",
			Value: sarama.StringEncoder(text),
		}
		partition, offset, err := producer.SendMessage(message)
		if err != nil {
			log.Fatalln("sending:", err)
		}
		fmt.Printf("%s is at %d/%d, written back %t\n", text, partition, offset,
			message.Partition == partition && message.Offset == offset)
	}
}

// Output:
// first is at 0/0, written back true
// second is at 0/1, written back true
// third is at 0/2, written back true
