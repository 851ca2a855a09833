// Creates the topics that a service needs, and takes it when they are there already.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"sort"
	"strings"

	"github.com/IBM/sarama"
)

func ensure(admin sarama.ClusterAdmin, name string, detail *sarama.TopicDetail) error {
	err := admin.CreateTopic(name, detail, false)
	if err == nil {
		fmt.Println("created", name)
		return nil
	}
	var topicErr *sarama.TopicError
	if errors.As(err, &topicErr) && topicErr.Err == sarama.ErrTopicAlreadyExists {
		fmt.Println("there already:", name, errors.Is(err, sarama.ErrTopicAlreadyExists))
		return nil
	}
	return err
}

func main() {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	admin, err := sarama.NewClusterAdmin(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		log.Fatal("Error while creating cluster admin: ", err)
	}
	defer func() { _ = admin.Close() }()

	retention, policy, forever := "3600000", "compact,delete", "-1"
	details := map[string]*sarama.TopicDetail{
		"bootstrap-events": {
			NumPartitions: 4, ReplicationFactor: 1,
			ConfigEntries: map[string]*string{"retention.ms": &retention},
		},
		"bootstrap-state": {
			NumPartitions: 1, ReplicationFactor: 1,
			ConfigEntries: map[string]*string{"cleanup.policy": &policy, "retention.ms": &forever},
		},
	}
	names := []string{"bootstrap-events", "bootstrap-state"}
	for range 2 {
		for _, name := range names {
			if err := ensure(admin, name, details[name]); err != nil {
				log.Fatal(err)
			}
		}
	}

	for _, wrong := range []struct {
		name   string
		detail sarama.TopicDetail
		want   error
	}{
		{"a/b", sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, sarama.ErrInvalidTopic},
		{"none", sarama.TopicDetail{NumPartitions: 0, ReplicationFactor: 1},
			sarama.ErrInvalidPartitions},
		{"many", sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 3},
			sarama.ErrInvalidReplicationFactor},
		{"odd", sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1,
			ConfigEntries: map[string]*string{"no.such.setting": &retention}},
			sarama.ErrInvalidConfig},
		{"bad", sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1,
			ConfigEntries: map[string]*string{"cleanup.policy": &retention}},
			sarama.ErrInvalidConfig},
		{"", sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, sarama.ErrInvalidTopic},
	} {
		err := admin.CreateTopic(wrong.name, &wrong.detail, false)
		fmt.Printf("%q refused as it should be: %t\n", wrong.name, errors.Is(err, wrong.want))
	}

	topics, err := admin.ListTopics()
	for err == nil && (topics[names[0]].NumPartitions == 0 || topics[names[1]].NumPartitions == 0) {
		topics, err = admin.ListTopics() // brokers may learn of them a moment later
	}
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range names {
		topic := topics[name]
		var entries []string
		for name, value := range topic.ConfigEntries {
			if name == "cleanup.policy" || name == "retention.ms" {
				entries = append(entries, name+"="+*value)
			}
		}
		sort.Strings(entries)
		fmt.Println(name, topic.NumPartitions, topic.ReplicationFactor, entries)
	}
	fmt.Println("deleted:", admin.DeleteTopic("bootstrap-state"))
	fmt.Println("deleted again:", admin.DeleteTopic("bootstrap-state") == sarama.ErrUnknownTopicOrPartition)
}

// Output:
// created bootstrap-events
// created bootstrap-state
// there already: bootstrap-events true
// there already: bootstrap-state true
// "a/b" refused as it should be: true
// "none" refused as it should be: true
// "many" refused as it should be: true
// "odd" refused as it should be: true
// "bad" refused as it should be: true
// "" refused as it should be: true
// bootstrap-events 4 1 [retention.ms=3600000]
// bootstrap-state 1 1 [cleanup.policy=compact,delete retention.ms=-1]
// deleted: <nil>
// deleted again: true
