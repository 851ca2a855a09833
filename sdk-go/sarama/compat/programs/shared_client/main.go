// One client for a producer, a consumer and an offset manager, which tell how far behind a reader
// is.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

const topic, group = "shared-client", "shared-client-readers"

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	client := must(sarama.NewClient(strings.Split(os.Getenv("BROKERS"), ","), config))

	producer := must(sarama.NewSyncProducerFromClient(client))
	for i := range 10 {
		must2(producer.SendMessage(&sarama.ProducerMessage{
			Topic: topic, Value: sarama.StringEncoder(fmt.Sprint(i)),
		}))
	}

	offsets := must(sarama.NewOffsetManagerFromClient(group, client))
	position := must(offsets.ManagePartition(topic, 0))
	next, metadata := position.NextOffset()
	fmt.Printf("begins at %d %q, lag %d\n", next, metadata, lag(client, 0))

	consumer := must(sarama.NewConsumerFromClient(client))
	reader := must(consumer.ConsumePartition(topic, 0, next))
	for range 7 {
		message := <-reader.Messages()
		position.MarkOffset(message.Offset+1, "read up to "+string(message.Value))
	}
	offsets.Commit()
	next, metadata = position.NextOffset()
	fmt.Printf("goes on at %d %q, lag %d\n", next, metadata, lag(client, next))

	position.ResetOffset(2, "again")
	position.MarkOffset(1, "not back")
	offsets.Commit()
	next, metadata = position.NextOffset()
	fmt.Printf("goes back to %d %q, lag %d\n", next, metadata, lag(client, next))

	position.AsyncClose()
	for _, c := range []interface{ Close() error }{reader, consumer, offsets, producer} {
		if err := c.Close(); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("client closed before:", client.Closed())
	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("client closed:", client.Closed(), client.Close() == sarama.ErrClosedClient)
}

func must2(_ int32, _ int64, err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func lag(client sarama.Client, next int64) int64 {
	return must(client.GetOffset(topic, 0, sarama.OffsetNewest)) - max(next, 0)
}

// Output:
// begins at -2 "", lag 10
// goes on at 7 "read up to 6", lag 3
// goes back to 2 "again", lag 8
// client closed before: false
// client closed: true true
