// Gives a topic more partitions, and writes to the new ones.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

const topic = "more-partitions"

func main() {
	config := sarama.NewConfig()
	config.Version = sarama.V2_4_0_0
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	client, err := sarama.NewClient(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		log.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	detail := &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		log.Fatal(err)
	}
	if err := client.RefreshMetadata(topic); err != nil {
		log.Fatal(err)
	}
	partitions, err := client.Partitions(topic)
	fmt.Println(partitions, err)

	fmt.Println("looks good:", admin.CreatePartitions(topic, 4, nil, true))
	fmt.Println("is done:", admin.CreatePartitions(topic, 4, nil, false))
	for _, count := range []int32{4, 1} {
		err := admin.CreatePartitions(topic, count, nil, false)
		var refused *sarama.TopicPartitionError
		fmt.Println(count, "is refused:", errors.As(err, &refused),
			errors.Is(err, sarama.ErrInvalidPartitions))
	}
	err = admin.CreatePartitions("nowhere", 4, nil, false)
	fmt.Println("not there:", errors.Is(err, sarama.ErrUnknownTopicOrPartition))

	if err := client.RefreshMetadata(topic); err != nil {
		log.Fatal(err)
	}
	partitions, err = client.Partitions(topic)
	fmt.Println(partitions, err)
	writable, err := client.WritablePartitions(topic)
	fmt.Println(writable, err)

	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	partition, offset, err := producer.SendMessage(&sarama.ProducerMessage{
		Topic: topic, Partition: 3, Value: sarama.StringEncoder("x"),
	})
	fmt.Println(partition, offset, err, producer.Close())
	metadata, err := admin.DescribeTopics([]string{topic, "nowhere"})
	if err != nil {
		log.Fatal(err)
	}
	for _, topic := range metadata {
		fmt.Println(topic.Name, len(topic.Partitions), topic.Err == sarama.ErrNoError)
	}
}

// Output:
// [0 1] <nil>
// looks good: <nil>
// is done: <nil>
// 4 is refused: true true
// 1 is refused: true true
// not there: true
// [0 1 2 3] <nil>
// [0 1 2 3] <nil>
// 3 0 <nil> <nil>
// more-partitions 4 true
// nowhere 0 false
