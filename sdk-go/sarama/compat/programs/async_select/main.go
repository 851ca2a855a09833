// Feeds an asynchronous producer and reads its errors in one select, until it is told to stop.
package main

import (
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/IBM/sarama"
)

func main() {
	producer, err := sarama.NewAsyncProducer(strings.Split(os.Getenv("BROKERS"), ","), nil)
	if err != nil {
		log.Fatalln(err)
	}

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)

	var enqueued, failed int
loop:
	for {
		message := &sarama.ProducerMessage{
			Topic: "async-select", Key: nil, Value: sarama.StringEncoder("testing 123"),
		}
		select {
		case producer.Input() <- message:
			enqueued++
			if enqueued == 100 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
				<-signals
				break loop
			}
		case err := <-producer.Errors():
			log.Println("failed to produce", err)
			failed++
		}
	}
	if err := producer.Close(); err != nil {
		log.Fatalln(err)
	}
	fmt.Printf("enqueued: %d, errors: %d\n", enqueued, failed)
}

// Output:
// enqueued: 100, errors: 0
