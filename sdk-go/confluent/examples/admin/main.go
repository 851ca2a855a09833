// Command admin creates a topic, and shows how it and the cluster are. It is written for
// confluent-kafka-go; its import line alone is of this module.
//
//	admin localhost:9092 myTopic 3 1
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: admin BROKERS TOPIC PARTITIONS REPLICAS")
		os.Exit(2)
	}
	partitions, err := strconv.Atoi(os.Args[3])
	if err == nil {
		var replicas int
		if replicas, err = strconv.Atoi(os.Args[4]); err == nil {
			err = run(os.Stdout, os.Args[1], os.Args[2], partitions, replicas)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(out io.Writer, brokers, topic string, partitions, replicas int) error {
	a, err := kafka.NewAdminClient(&kafka.ConfigMap{"bootstrap.servers": brokers})
	if err != nil {
		return err
	}
	defer a.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	results, err := a.CreateTopics(ctx,
		[]kafka.TopicSpecification{{
			Topic:             topic,
			NumPartitions:     partitions,
			ReplicationFactor: replicas,
			Config:            map[string]string{"retention.ms": "86400000"},
		}},
		kafka.SetAdminOperationTimeout(30*time.Second))
	if err != nil {
		return err
	}
	for _, result := range results {
		fmt.Fprintf(out, "%s\n", result)
	}

	configs, err := a.DescribeConfigs(ctx,
		[]kafka.ConfigResource{{Type: kafka.ResourceTopic, Name: topic}})
	if err != nil {
		return err
	}
	for _, config := range configs {
		fmt.Fprintf(out, "%s %s\n", config, config.Config["retention.ms"])
	}

	metadata, err := a.GetMetadata(&topic, false, 5000)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d brokers, %d partitions\n",
		len(metadata.Brokers), len(metadata.Topics[topic].Partitions))
	return nil
}
