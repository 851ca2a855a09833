// A partitioner of its own: messages of an important customer go to the last partition, those of
// the others by their key to the rest.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

type vip struct {
	topic string
	rest  sarama.Partitioner
}

func newVIP(topic string) sarama.Partitioner {
	return &vip{topic: topic, rest: sarama.NewHashPartitioner(topic)}
}

func (p *vip) Partition(message *sarama.ProducerMessage, numPartitions int32) (int32, error) {
	if message.Topic != p.topic {
		return -1, fmt.Errorf("asked about %s", message.Topic)
	}
	if message.Key == sarama.StringEncoder("vip") {
		return numPartitions - 1, nil
	}
	return p.rest.Partition(message, numPartitions-1)
}

func (p *vip) RequiresConsistency() bool { return true }

// MessageRequiresConsistency is for those without a key, which may go anywhere.
func (p *vip) MessageRequiresConsistency(message *sarama.ProducerMessage) bool {
	return message.Key != nil
}

var _ sarama.DynamicConsistencyPartitioner = (*vip)(nil)

func main() {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = newVIP
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	admin, err := sarama.NewClusterAdmin(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	detail := &sarama.TopicDetail{NumPartitions: 4, ReplicationFactor: 1}
	if err := admin.CreateTopic("custom-partitioner", detail, false); err != nil {
		log.Fatal(err)
	}
	if err := admin.Close(); err != nil {
		log.Fatal(err)
	}
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	for _, key := range []string{"vip", "alice", "dave", "vip", "erin", "alice"} {
		partition, offset, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: "custom-partitioner", Key: sarama.StringEncoder(key), Value: sarama.StringEncoder("x"),
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(key, partition, offset)
	}

	config.Producer.Partitioner = func(string) sarama.Partitioner { return wild{} }
	lost, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer lost.Close()
	partition, offset, err := lost.SendMessage(&sarama.ProducerMessage{Topic: "custom-partitioner"})
	fmt.Println("out of range:", partition, offset, err == sarama.ErrInvalidPartition)
}

type wild struct{}

func (wild) Partition(*sarama.ProducerMessage, int32) (int32, error) { return 99, nil }
func (wild) RequiresConsistency() bool                               { return true }

// Output:
// vip 3 0
// alice 2 0
// dave 0 0
// vip 3 1
// erin 1 0
// alice 2 1
// out of range: -1 -1 true
