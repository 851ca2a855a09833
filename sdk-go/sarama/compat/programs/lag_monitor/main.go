// Tells how far consumer groups are behind, from outside of them.
package main

import (
	"fmt"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/IBM/sarama"
)

const topic = "lag-monitor"

func main() {
	config := sarama.NewConfig()
	config.Version = sarama.V2_4_0_0
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewRoundRobinPartitioner
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
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	for range 10 {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: topic, Value: sarama.StringEncoder("x"),
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	commit(client, "lag-fast", map[int32]int64{0: 5, 1: 5})
	commit(client, "lag-slow", map[int32]int64{0: 1})

	groups, err := admin.ListConsumerGroups()
	if err != nil {
		log.Fatal(err)
	}
	for _, group := range []string{"lag-fast", "lag-slow"} {
		fmt.Println(group, "is a group:", groups[group] == "consumer" || groups[group] == "")
		offsets, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1}})
		if err != nil {
			log.Fatal(err)
		}
		for partition := range int32(2) {
			block := offsets.GetBlock(topic, partition)
			newest, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("  %d: committed %d, lag %d, %v\n", partition, block.Offset,
				newest-max(block.Offset, 0), block.Err == sarama.ErrNoError)
		}
		all, err := admin.ListConsumerGroupOffsets(group, nil)
		if err != nil {
			log.Fatal(err)
		}
		var known []int32
		for partition, block := range all.Blocks[topic] {
			if block.Offset >= 0 {
				known = append(known, partition)
			}
		}
		slices.Sort(known)
		fmt.Println("  partitions with an offset:", known)
	}
	results, err := admin.ListOffsets(map[string]map[int32]int64{
		topic: {0: sarama.OffsetOldest, 1: sarama.OffsetNewest, 9: sarama.OffsetNewest},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("oldest", results[topic][0].Offset, "newest", results[topic][1].Offset,
		"error", results[topic][9].Err == sarama.ErrUnknownTopicOrPartition)
}

func commit(client sarama.Client, group string, positions map[int32]int64) {
	manager, err := sarama.NewOffsetManagerFromClient(group, client)
	if err != nil {
		log.Fatal(err)
	}
	for partition, offset := range positions {
		position, err := manager.ManagePartition(topic, partition)
		if err != nil {
			log.Fatal(err)
		}
		position.MarkOffset(offset, "")
		position.AsyncClose()
	}
	if err := manager.Close(); err != nil {
		log.Fatal(err)
	}
}

// Output:
// lag-fast is a group: true
//   0: committed 5, lag 0, true
//   1: committed 5, lag 0, true
//   partitions with an offset: [0 1]
// lag-slow is a group: true
//   0: committed 1, lag 4, true
//   1: committed -1, lag 5, true
//   partitions with an offset: [0]
// oldest 0 newest 5 error true
