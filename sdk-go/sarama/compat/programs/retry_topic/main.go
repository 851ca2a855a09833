// Tries what fails again by way of a topic for it, with the number of tries in a header.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/IBM/sarama"
)

const (
	work  = "retry-topic-work"
	again = "retry-topic-again"
)

type worker struct {
	retries sarama.SyncProducer
	cancel  context.CancelFunc
	open    int
	log     chan string
}

func (*worker) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*worker) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func attempts(message *sarama.ConsumerMessage) int {
	for _, header := range message.Headers {
		if string(header.Key) == "attempt" {
			n, _ := strconv.Atoi(string(header.Value))
			return n
		}
	}
	return 1
}

func (w *worker) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for message := range claim.Messages() {
		attempt := attempts(message)
		needed, _ := strconv.Atoi(string(message.Key))
		if attempt < needed {
			_, _, err := w.retries.SendMessage(&sarama.ProducerMessage{
				Topic: again, Key: sarama.ByteEncoder(message.Key), Value: sarama.ByteEncoder(message.Value),
				Headers: []sarama.RecordHeader{{
					Key: []byte("attempt"), Value: []byte(strconv.Itoa(attempt + 1)),
				}},
			})
			if err != nil {
				return err
			}
		} else {
			w.log <- fmt.Sprintf("%s at attempt %d", message.Value, attempt)
		}
		session.MarkMessage(message, fmt.Sprint("attempt ", attempt))
	}
	return nil
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 100 * 1e6
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	admin, err := sarama.NewClusterAdmin(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	for _, topic := range []string{work, again} {
		detail := &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}
		if err := admin.CreateTopic(topic, detail, false); err != nil {
			log.Fatal(err)
		}
	}
	for _, job := range []struct{ needs, name string }{{"1", "easy"}, {"3", "hard"}, {"2", "fair"}} {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: work, Key: sarama.StringEncoder(job.needs), Value: sarama.StringEncoder(job.name),
		})
		if err != nil {
			log.Fatal(err)
		}
	}

	group, err := sarama.NewConsumerGroup(brokers, "retry-topic", config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{retries: producer, cancel: cancel, log: make(chan string)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{work, again}, w); err != nil {
				log.Fatal(err)
			}
		}
	}()
	lines := []string{<-w.log, <-w.log, <-w.log}
	slices.Sort(lines) // the two topics are read side by side
	fmt.Println(strings.Join(lines, "\n"))
	cancel()
	<-done
	fmt.Println("closed", group.Close())
}

// Output:
// easy at attempt 1
// fair at attempt 2
// hard at attempt 3
// closed <nil>
