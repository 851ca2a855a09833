// Describes and alters the settings of a topic.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/IBM/sarama"
)

const topic = "admin-config"

func show(admin sarama.ClusterAdmin, names ...string) {
	entries, err := admin.DescribeConfig(sarama.ConfigResource{
		Type: sarama.TopicResource, Name: topic, ConfigNames: names,
	})
	if err != nil {
		log.Fatal(err)
	}
	values := map[string]string{}
	for _, entry := range entries {
		words := strings.Split(entry.Value, ",")
		slices.Sort(words)
		values[entry.Name] = fmt.Sprint(strings.Join(words, ","), " ", entry.Default)
	}
	for _, name := range names {
		fmt.Println(" ", name, values[name])
	}
}

func text(s string) *string { return &s }

func main() {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	admin, err := sarama.NewClusterAdmin(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	err = admin.CreateTopic(topic, &sarama.TopicDetail{
		NumPartitions: 1, ReplicationFactor: 1,
		ConfigEntries: map[string]*string{
			"retention.ms": text("-1"), "max.message.bytes": text("500000"),
			"message.timestamp.type": text("LogAppendTime"), "compression.type": text("producer"),
			"segment.ms": text("3600000"), "delete.retention.ms": text("1000"),
			"min.insync.replicas": text("1"), "unclean.leader.election.enable": text("false"),
		},
	}, false)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("created")
	show(admin, "cleanup.policy", "delete.retention.ms", "max.message.bytes",
		"message.timestamp.type", "retention.ms", "segment.ms")

	err = admin.IncrementalAlterConfig(sarama.TopicResource, topic,
		map[string]sarama.IncrementalAlterConfigsEntry{
			"retention.ms": {
				Operation: sarama.IncrementalAlterConfigsOperationSet, Value: text("86400000"),
			},
			"cleanup.policy": {
				Operation: sarama.IncrementalAlterConfigsOperationAppend, Value: text("compact"),
			},
			"segment.ms": {Operation: sarama.IncrementalAlterConfigsOperationDelete},
		}, false)
	fmt.Println("changed", err)
	show(admin, "cleanup.policy", "max.message.bytes", "retention.ms", "segment.ms")

	err = admin.IncrementalAlterConfig(sarama.TopicResource, topic,
		map[string]sarama.IncrementalAlterConfigsEntry{
			"retention.ms": {
				Operation: sarama.IncrementalAlterConfigsOperationSet, Value: text("5000000"),
			},
		}, true)
	fmt.Println("only looked at", err)
	show(admin, "retention.ms")

	err = admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{
		"retention.bytes": text("1000000"),
	}, false)
	fmt.Println("set as a whole", err)
	show(admin, "cleanup.policy", "delete.retention.ms", "retention.bytes", "retention.ms")

	err = admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{
		"retention.ms": text("soon"),
	}, false)
	var refused *sarama.AlterConfigError
	fmt.Println("refused:", errors.Is(err, sarama.ErrInvalidConfig), errors.As(err, &refused))
	_, err = admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: "nowhere"})
	fmt.Println("not there:", errors.Is(err, sarama.ErrUnknownTopicOrPartition))
}

// Output:
// created
//   cleanup.policy delete true
//   delete.retention.ms 1000 false
//   max.message.bytes 500000 false
//   message.timestamp.type LogAppendTime false
//   retention.ms -1 false
//   segment.ms 3600000 false
// changed <nil>
//   cleanup.policy compact,delete false
//   max.message.bytes 500000 false
//   retention.ms 86400000 false
//   segment.ms 604800000 true
// only looked at <nil>
//   retention.ms 86400000 false
// set as a whole <nil>
//   cleanup.policy delete true
//   delete.retention.ms 86400000 true
//   retention.bytes 1000000 false
//   retention.ms 604800000 true
// refused: true true
// not there: true
