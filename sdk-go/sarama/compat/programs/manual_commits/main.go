// Commits by itself, and begins after a restart where it had committed.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

const topic = "manual-commits"

type handler struct {
	stopAfter, commitUpTo int64
	cancel                context.CancelFunc
	read                  []int64
	generation            int32
}

func (h *handler) Setup(session sarama.ConsumerGroupSession) error {
	h.generation = session.GenerationID()
	if session.MemberID() == "" {
		return fmt.Errorf("a member has no id")
	}
	return nil
}
func (*handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *handler) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	if claim.Topic() != topic || claim.Partition() != 0 {
		return fmt.Errorf("claim of %s/%d", claim.Topic(), claim.Partition())
	}
	for message := range claim.Messages() {
		h.read = append(h.read, message.Offset)
		if message.Offset < h.commitUpTo {
			session.MarkOffset(message.Topic, message.Partition, message.Offset+1, "")
			session.Commit()
		}
		if message.Offset == h.stopAfter {
			h.cancel()
			return nil
		}
	}
	return nil
}

func run(brokers []string, config *sarama.Config, stopAfter, commitUpTo int64) {
	group, err := sarama.NewConsumerGroup(brokers, topic, config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &handler{stopAfter: stopAfter, commitUpTo: commitUpTo, cancel: cancel}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{topic}, h); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("read", h.read, "generation told:", h.generation > 0, "closed:", group.Close())
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	for range 6 {
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic}); err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		log.Fatal(err)
	}
	run(brokers, config, 3, 2) // reads 0 to 3, commits 0 and 1
	run(brokers, config, 5, 6)
}

// Output:
// read [0 1 2 3] generation told: true closed: <nil>
// read [2 3 4 5] generation told: true closed: <nil>
