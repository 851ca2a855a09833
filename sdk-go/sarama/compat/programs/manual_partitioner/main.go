// Chooses the partition of each message itself.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	client, err := sarama.NewClient(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close() // and the client
	detail := &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1}
	if err := admin.CreateTopic("manual-partitioner", detail, false); err != nil {
		log.Fatal(err)
	}
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	for _, wanted := range []int32{2, 0, 2, 1, 2} {
		partition, offset, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: "manual-partitioner", Partition: wanted, Key: sarama.StringEncoder("the same key"),
			Value: sarama.StringEncoder("x"),
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(partition, offset)
	}
	_, _, err = producer.SendMessage(&sarama.ProducerMessage{
		Topic: "manual-partitioner", Partition: 3,
	})
	fmt.Println(err == sarama.ErrInvalidPartition)
}

// Output:
// 2 0
// 0 0
// 2 1
// 1 0
// 2 2
// true
