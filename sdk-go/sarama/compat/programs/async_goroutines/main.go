// Reads the successes and the errors of an asynchronous producer in goroutines of their own, and
// has AsyncClose finish what is under way.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"
	"sync"

	"github.com/IBM/sarama"
)

func main() {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	producer, err := sarama.NewAsyncProducer(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		panic(err)
	}

	var (
		wg                          sync.WaitGroup
		enqueued, successes, failed int
		sameMetadata, inOrder             = true, true
		last                        int64 = -1
	)

	wg.Add(1)
	go func() {
		defer wg.Done()
		for message := range producer.Successes() {
			if message.Metadata != successes {
				sameMetadata = false
			}
			if message.Offset != last+1 {
				inOrder = false
			}
			last = message.Offset
			successes++
		}
	}()

	wg.Add(1)
	go func() {
		defer wg.Done()
		for err := range producer.Errors() {
			log.Println(err)
			failed++
		}
	}()

	for i := 0; i < 1000; i++ {
		producer.Input() <- &sarama.ProducerMessage{
			Topic:    "async-goroutines",
			Value:    sarama.ByteEncoder(fmt.Sprintf("message %d", i)),
			Metadata: i,
		}
		enqueued++
	}
	producer.AsyncClose()
	wg.Wait()
	fmt.Printf("enqueued %d, successes %d, errors %d\n", enqueued, successes, failed)
	fmt.Println("metadata kept:", sameMetadata, "in order:", inOrder)
}

// Output:
// enqueued 1000, successes 1000, errors 0
// metadata kept: true in order: true
