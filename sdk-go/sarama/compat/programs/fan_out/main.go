// Hands messages to workers by their keys, and marks them in order when they are done.
package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"log"
	"os"
	"strings"
	"sync"

	"github.com/IBM/sarama"
)

const topic = "fan-out"

type job struct {
	message *sarama.ConsumerMessage
	done    chan struct{}
}

type handler struct {
	mu     sync.Mutex
	byKey  map[string][]int64
	count  int
	cancel context.CancelFunc
}

func (*handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *handler) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	const workers = 4
	queues := make([]chan job, workers)
	pending := make(chan job, 64)
	var wg sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan job, 16)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range queues[i] {
				h.mu.Lock()
				h.byKey[string(j.message.Key)] = append(h.byKey[string(j.message.Key)], j.message.Offset)
				h.mu.Unlock()
				close(j.done)
			}
		}()
	}
	wg.Add(1)
	go func() {
		defer wg.Done()
		for j := range pending {
			<-j.done
			session.MarkMessage(j.message, "")
			h.mu.Lock()
			if h.count++; h.count == 40 {
				h.cancel()
			}
			h.mu.Unlock()
		}
	}()
	for message := range claim.Messages() {
		j := job{message, make(chan struct{})}
		hash := fnv.New32a()
		hash.Write(message.Key)
		queues[hash.Sum32()%workers] <- j
		pending <- j
	}
	for _, queue := range queues {
		close(queue)
	}
	close(pending)
	wg.Wait()
	return nil
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	for i := range 40 {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: topic, Key: sarama.StringEncoder(fmt.Sprint("key", i%5)),
			Value: sarama.StringEncoder(fmt.Sprint(i)),
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		log.Fatal(err)
	}

	group, err := sarama.NewConsumerGroup(brokers, topic, config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &handler{byKey: map[string][]int64{}, cancel: cancel}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{topic}, h); err != nil {
			log.Fatal(err)
		}
	}
	if err := group.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(h.count, h.byKey)
}

// Output:
// 40 map[key0:[0 5 10 15 20 25 30 35] key1:[1 6 11 16 21 26 31 36] key2:[2 7 12 17 22 27 32 37] key3:[3 8 13 18 23 28 33 38] key4:[4 9 14 19 24 29 34 39]]
