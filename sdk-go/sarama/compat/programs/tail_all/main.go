// Follows all partitions of a topic from the oldest message on, with a nil config, into one channel.
package main

import (
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/IBM/sarama"
)

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	prepare(brokers)

	c, err := sarama.NewConsumer(brokers, nil)
	if err != nil {
		log.Fatalf("Failed to start consumer: %s", err)
	}
	partitionList, err := c.Partitions("tail-all")
	if err != nil {
		log.Fatalf("Failed to get the list of partitions: %s", err)
	}
	fmt.Println("partitions", partitionList)

	var (
		messages = make(chan *sarama.ConsumerMessage, 256)
		closing  = make(chan struct{})
		wg       sync.WaitGroup
	)
	for _, partition := range partitionList {
		pc, err := c.ConsumePartition("tail-all", partition, sarama.OffsetOldest)
		if err != nil {
			log.Fatalf("Failed to start consumer for partition %d: %s", partition, err)
		}
		go func(pc sarama.PartitionConsumer) {
			<-closing
			pc.AsyncClose()
		}(pc)
		wg.Add(1)
		go func(pc sarama.PartitionConsumer) {
			defer wg.Done()
			for message := range pc.Messages() {
				messages <- message
			}
		}(pc)
	}

	var lines []string
	for range 9 {
		msg := <-messages
		lines = append(lines, fmt.Sprintf("%d/%d %s", msg.Partition, msg.Offset, msg.Value))
	}
	marks := c.HighWaterMarks()["tail-all"]
	close(closing)
	wg.Wait()
	close(messages)
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
	fmt.Println("high water marks", marks)
	if err := c.Close(); err != nil {
		log.Fatalln("Failed to close consumer: ", err)
	}
}

func prepare(brokers []string) {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewRoundRobinPartitioner
	admin, err := sarama.NewClusterAdmin(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	err = admin.CreateTopic("tail-all", &sarama.TopicDetail{
		NumPartitions: 3, ReplicationFactor: 1,
	}, false)
	if err != nil {
		log.Fatal(err)
	}
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	for i := range 9 {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: "tail-all", Value: sarama.StringEncoder(fmt.Sprint("line ", i)),
		})
		if err != nil {
			log.Fatal(err)
		}
	}
}

// Output:
// partitions [0 1 2]
// 0/0 line 0
// 0/1 line 3
// 0/2 line 6
// 1/0 line 1
// 1/1 line 4
// 1/2 line 7
// 2/0 line 2
// 2/1 line 5
// 2/2 line 8
// high water marks map[0:3 1:3 2:3]
