// Begins to read at a time.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

const topic = "seek-by-time"

func main() {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	client, err := sarama.NewClient(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	for i := range 6 {
		message := &sarama.ProducerMessage{
			Topic: topic, Value: sarama.StringEncoder(fmt.Sprint("minute ", i)),
			Timestamp: start.Add(time.Duration(i) * time.Minute),
		}
		if _, _, err := producer.SendMessage(message); err != nil {
			log.Fatal(err)
		}
		if !message.Timestamp.Equal(start.Add(time.Duration(i) * time.Minute)) {
			log.Fatal("the timestamp was changed to ", message.Timestamp)
		}
	}

	offsetAt := func(t time.Time) int64 {
		offset, err := client.GetOffset(topic, 0, t.UnixMilli())
		if err != nil {
			log.Fatal(err)
		}
		return offset
	}
	fmt.Println("long ago:", offsetAt(start.Add(-time.Hour)))
	fmt.Println("exactly:", offsetAt(start.Add(2*time.Minute)))
	fmt.Println("between:", offsetAt(start.Add(150*time.Second)))
	fmt.Println("later than all:", offsetAt(start.Add(time.Hour)))

	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, offsetAt(start.Add(150*time.Second)))
	if err != nil {
		log.Fatal(err)
	}
	defer partition.Close()
	for range 3 {
		message := <-partition.Messages()
		fmt.Println(string(message.Value), message.Timestamp.Sub(start))
	}
}

// Output:
// long ago: 0
// exactly: 2
// between: 3
// later than all: -1
// minute 3 3m0s
// minute 4 4m0s
// minute 5 5m0s
