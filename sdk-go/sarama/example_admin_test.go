package sarama_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// exampleAdmin is sarama.NewClusterAdmin([]string{"localhost:9092"}, nil).
func exampleAdmin(start func() ([]string, func())) (sarama.ClusterAdmin, func()) {
	addrs, stop := start()
	admin, err := sarama.NewClusterAdmin(addrs, nil)
	if err != nil {
		log.Fatal(err)
	}
	return admin, func() {
		_ = admin.Close() // the broker is gone in a moment
		stop()
	}
}

// Topics are made, described, and deleted.
func ExampleClusterAdmin() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()
	admin, err := sarama.NewClusterAdmin(addrs, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	week := "604800000"
	detail := sarama.TopicDetail{
		NumPartitions: 2, ReplicationFactor: 1,
		ConfigEntries: map[string]*string{"retention.ms": &week},
	}
	if err := admin.CreateTopic("clicks", &detail, false); err != nil {
		log.Fatal(err)
	}
	led := func(p *sarama.PartitionMetadata) bool { return p.Err == sarama.ErrNoError }
	describe := func(topic *sarama.TopicMetadata) {
		for _, partition := range topic.Partitions {
			fmt.Println(topic.Name, partition.ID, "has a leader:", led(partition))
		}
	}
	topics, err := admin.DescribeTopics([]string{"clicks"})
	if err != nil {
		log.Fatal(err)
	}
	for _, topic := range topics {
		describe(topic)
	}
	fmt.Println(admin.DeleteTopic("clicks"))
	// Output:
	// clicks 0 has a leader: true
	// clicks 1 has a leader: true
	// <nil>
}

// A program that wants a topic takes one that is there already.
func ExampleTopicError() {
	admin, stop := exampleAdmin(exampleAddrs)
	defer stop()
	ensure := func(name string, partitions int32) error {
		detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: -1}
		err := admin.CreateTopic(name, detail, false)
		var failure *sarama.TopicError
		if errors.As(err, &failure) && failure.Err == sarama.ErrTopicAlreadyExists {
			fmt.Println("there is", name)
			return nil
		}
		return err
	}
	fmt.Println(ensure("clicks", 2))
	fmt.Println(ensure("clicks", 2))
	err := admin.CreatePartitions("clicks", 1, nil, false)
	var failure *sarama.TopicPartitionError
	if errors.As(err, &failure) {
		fmt.Println("fewer partitions:", failure.Err == sarama.ErrInvalidPartitions)
	}
	// Output:
	// <nil>
	// there is clicks
	// <nil>
	// fewer partitions: true
}

// Settings of a topic by Kafka's names: one is changed, and read again.
func ExampleConfigResource() {
	admin, stop := exampleAdmin(exampleAddrs)
	defer stop()
	detail := &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}
	if err := admin.CreateTopic("accounts", detail, false); err != nil {
		log.Fatal(err)
	}
	compact := "compact"
	changes := map[string]sarama.IncrementalAlterConfigsEntry{
		"cleanup.policy": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &compact},
	}
	err := admin.IncrementalAlterConfig(sarama.TopicResource, "accounts", changes, false)
	if err != nil {
		log.Fatal(err)
	}
	results, err := admin.DescribeConfigs([]*sarama.ConfigResource{{
		Type: sarama.TopicResource, Name: "accounts", ConfigNames: []string{"cleanup.policy"},
	}}, sarama.DescribeConfigsOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, result := range results {
		for _, entry := range result.Configs {
			fmt.Println(entry.Name, entry.Value, "default:", entry.Default)
		}
	}
	// Output: cleanup.policy compact default: false
}

func ExampleClusterAdmin_ListOffsets() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()
	produceTexts(addrs, "readings", "12", "13")
	admin, err := sarama.NewClusterAdmin(addrs, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	offsets, err := admin.ListOffsets(
		map[string]map[int32]int64{"readings": {0: sarama.OffsetNewest}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	newest := offsets["readings"][0]
	fmt.Println(newest.Offset, newest.Err == sarama.ErrNoError)
	// Output: 2 true
}

// A group without members is put to another place, and described.
func ExampleGroupDescription() {
	addrs, stop := exampleBroker() // localhost:9092
	defer stop()
	produceTexts(addrs, "orders", "first", "second", "third")
	admin, err := sarama.NewClusterAdmin(addrs, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	answer, err := admin.AlterConsumerGroupOffsets("billing",
		map[string]map[int32]sarama.OffsetAndMetadata{
			"orders": {0: {Offset: 1, Metadata: "by hand"}},
		}, nil)
	if err != nil {
		log.Fatal(err)
	}
	if code := answer.Errors["orders"][0]; code != sarama.ErrNoError {
		log.Fatal(code)
	}

	idle := func(group *sarama.GroupDescription) bool {
		return group.Err == sarama.ErrNoError && len(group.Members) == 0
	}
	groups, err := admin.DescribeConsumerGroups([]string{"billing"})
	if err != nil {
		log.Fatal(err)
	}
	for _, group := range groups {
		committed, err := admin.ListConsumerGroupOffsets(group.GroupId, nil)
		if err != nil {
			log.Fatal(err)
		}
		block := committed.GetBlock("orders", 0)
		fmt.Println(group.GroupId, group.State, "idle:", idle(group), "at", block.Offset, block.Metadata)
	}
	// Output: billing Empty idle: true at 1 by hand
}
