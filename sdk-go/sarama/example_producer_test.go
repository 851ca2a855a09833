package sarama_test

import (
	"fmt"
	"log"
	"sync"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func ExampleSyncProducer() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()

	producer, err := sarama.NewSyncProducer(addrs, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	for _, value := range []string{"first", "second"} {
		partition, offset, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: "my_topic", Value: sarama.StringEncoder(value),
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %d/%d\n", value, partition, offset)
	}
	// Output:
	// first: 0/0
	// second: 0/1
}

// A program sends and reads what comes back in one select, so that neither holds up the other.
func ExampleAsyncProducer_select() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()

	producer, err := sarama.NewAsyncProducer(addrs, nil)
	if err != nil {
		log.Fatal(err)
	}
	var enqueued, failed int
	for enqueued < 10 && failed == 0 {
		message := &sarama.ProducerMessage{Topic: "my_topic", Value: sarama.StringEncoder("testing")}
		select {
		case producer.Input() <- message:
			enqueued++
		case err := <-producer.Errors():
			log.Println("not produced:", err)
			failed++
		}
	}
	if err := producer.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("enqueued", enqueued, "failed", failed)
	// Output: enqueued 10 failed 0
}

// Goroutines of their own read what comes back, until AsyncClose has all of it answered.
func ExampleAsyncProducer_goroutines() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()

	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	producer, err := sarama.NewAsyncProducer(addrs, config)
	if err != nil {
		log.Fatal(err)
	}
	var readers sync.WaitGroup
	successes, failures := 0, 0
	readers.Go(func() {
		for range producer.Successes() {
			successes++
		}
	})
	readers.Go(func() {
		for err := range producer.Errors() {
			log.Println(err)
			failures++
		}
	})
	for range 10 {
		producer.Input() <- &sarama.ProducerMessage{
			Topic: "my_topic", Value: sarama.StringEncoder("testing"),
		}
	}
	producer.AsyncClose()
	readers.Wait()
	fmt.Println("successes", successes, "failures", failures)
	// Output: successes 10 failures 0
}
