// Ends by a signal: the loop stops, what is under way is finished, and nothing is lost.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/IBM/sarama"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.Return.Errors = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	client, err := sarama.NewClient(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	producer, err := sarama.NewAsyncProducerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}

	var acked, failed int
	var readers sync.WaitGroup
	readers.Add(2)
	go func() {
		defer readers.Done()
		for range producer.Successes() {
			if acked++; acked == 50 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
			}
		}
	}()
	go func() {
		defer readers.Done()
		for range producer.Errors() {
			failed++
		}
	}()

	sent := 0
loop:
	for {
		message := &sarama.ProducerMessage{
			Topic: "graceful", Value: sarama.StringEncoder(fmt.Sprint(sent)),
		}
		select {
		case <-ctx.Done():
			break loop
		case producer.Input() <- message:
			sent++
		}
	}
	producer.AsyncClose()
	readers.Wait()
	newest, err := client.GetOffset("graceful", 0, sarama.OffsetNewest)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("all acknowledged:", acked == sent, "failed:", failed)
	fmt.Println("all there:", newest == int64(sent))
	fmt.Println("closed:", client.Close())
}

// Output:
// all acknowledged: true failed: 0
// all there: true
// closed: <nil>
