// Wraps the client, to count what it is asked for, and makes a producer from the wrapper.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

type counting struct {
	sarama.Client
	asked int
}

func (c *counting) Partitions(topic string) ([]int32, error) {
	c.asked++
	return c.Client.Partitions(topic)
}

var _ sarama.Client = (*counting)(nil)

func main() {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	inner, err := sarama.NewClient(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		log.Fatal(err)
	}
	client := &counting{Client: inner}
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	partition, offset, err := producer.SendMessage(&sarama.ProducerMessage{
		Topic: "wrapped-client", Value: sarama.StringEncoder("x"),
	})
	fmt.Println(partition, offset, err, producer.Close())
	partitions, err := client.Partitions("wrapped-client")
	fmt.Println(partitions, err, client.asked > 0)
	topics, err := client.Topics()
	fmt.Println("listed:", strings.Contains(strings.Join(topics, " "), "wrapped-client"), err)
	leader, epoch, err := client.LeaderAndEpoch("wrapped-client", 0)
	fmt.Println("leader:", leader.ID() > 0, epoch >= 0, err)
	replicas, err := client.Replicas("wrapped-client", 0)
	fmt.Println("replicas:", len(replicas), replicas[0] == leader.ID(), err)
	inSync, err := client.InSyncReplicas("wrapped-client", 0)
	fmt.Println("in sync:", len(inSync), err)
	offline, err := client.OfflineReplicas("wrapped-client", 0)
	fmt.Println("offline:", len(offline), err)
	_, err = client.Leader("wrapped-client", 5)
	fmt.Println("no such partition:", err == sarama.ErrUnknownTopicOrPartition)
	fmt.Println(client.Close(), client.Closed())
	_, err = sarama.NewSyncProducerFromClient(client)
	fmt.Println("after the end:", err == sarama.ErrClosedClient)
}

// Output:
// 0 0 <nil> <nil>
// [0] <nil> true
// listed: true <nil>
// leader: true true <nil>
// replicas: 1 true <nil>
// in sync: 1 <nil>
// offline: 0 <nil>
// no such partition: true
// <nil> true
// after the end: true
