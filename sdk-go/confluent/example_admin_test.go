package kafka_test

import (
	"context"
	"fmt"
	"log"
	"time"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
)

// exampleAdmin is kafka.NewAdminClient(&kafka.ConfigMap{"bootstrap.servers": "localhost:9092"}),
// of a cluster that has the topic orders with one partition.
func exampleAdmin(
	start func() (string, func()),
) (ctx context.Context, admin *kafka.AdminClient, stop func()) {
	address, end := start()
	produceTexts(address, "orders", "first", "second", "third")
	admin, err := kafka.NewAdminClient(with(address))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	return ctx, admin, func() {
		admin.Close()
		cancel()
		end()
	}
}

// Topics are created, and given more partitions. Each has a result of its own.
func ExampleAdminClient() {
	address, stop := exampleServer() // localhost:9092
	defer stop()
	admin, err := kafka.NewAdminClient(&kafka.ConfigMap{"bootstrap.servers": address})
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	show := func(results []kafka.TopicResult, err error) {
		if err != nil {
			log.Fatal(err)
		}
		for _, result := range results {
			switch result.Error.Code() {
			case kafka.ErrNoError:
				fmt.Println("done:", result.Topic)
			case kafka.ErrTopicAlreadyExists:
				fmt.Println("there is", result.Topic)
			default:
				fmt.Println("not done:", result)
			}
		}
	}
	clicks := []kafka.TopicSpecification{{
		Topic: "clicks", NumPartitions: 2, ReplicationFactor: 1,
		Config: map[string]string{"retention.ms": "604800000"},
	}}
	show(admin.CreateTopics(ctx, clicks, kafka.SetAdminRequestTimeout(10*time.Second)))
	show(admin.CreateTopics(ctx, clicks))
	show(admin.CreatePartitions(ctx, []kafka.PartitionsSpecification{
		{Topic: "clicks", IncreaseTo: 4},
	}))
	// Output:
	// done: clicks
	// there is clicks
	// done: clicks
}

// A setting is changed, the others stay, and what is in force is read.
func ExampleConfigResource() {
	ctx, admin, stop := exampleAdmin(exampleServer)
	defer stop()
	changed, err := admin.IncrementalAlterConfigs(ctx, []kafka.ConfigResource{{
		Type: kafka.ResourceTopic, Name: "orders",
		Config: []kafka.ConfigEntry{{
			Name: "retention.ms", Value: "3600000",
			IncrementalOperation: kafka.AlterConfigOpTypeSet,
		}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(changed[0].Error.Code() == kafka.ErrNoError)
	found, err := admin.DescribeConfigs(ctx, []kafka.ConfigResource{
		{Type: kafka.ResourceTopic, Name: "orders"},
	})
	if err != nil {
		log.Fatal(err)
	}
	retention := found[0].Config["retention.ms"]
	fmt.Println(retention.Value, "default:", retention.IsDefault)
	// Output:
	// true
	// 3600000 default: false
}

// Where partitions begin and end, and their oldest messages deleted.
func ExampleOffsetSpec() {
	ctx, admin, stop := exampleAdmin(exampleServer)
	defer stop()
	topic := "orders"
	first := func(spec kafka.OffsetSpec) kafka.Offset {
		asked := map[kafka.TopicPartition]kafka.OffsetSpec{{Topic: &topic}: spec}
		answer, err := admin.ListOffsets(ctx, asked)
		if err != nil {
			log.Fatal(err)
		}
		for _, info := range answer.ResultInfos {
			return info.Offset
		}
		return kafka.OffsetInvalid
	}
	fmt.Println(first(kafka.EarliestOffsetSpec), first(kafka.LatestOffsetSpec))
	deleted, err := admin.DeleteRecords(ctx, []kafka.TopicPartition{{Topic: &topic, Offset: 2}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("begins at", deleted.DeleteRecordsResults[0].DeletedRecords.LowWatermark)
	// Output:
	// 0 3
	// begins at 2
}

// Topics, and the cluster with the broker that leads its metadata.
func ExampleTopicDescription() {
	ctx, admin, stop := exampleAdmin(exampleServer)
	defer stop()
	var topics kafka.TopicCollection = kafka.NewTopicCollectionOfTopicNames([]string{"orders"})
	described, err := admin.DescribeTopics(ctx, topics)
	if err != nil {
		log.Fatal(err)
	}
	led := func(topic kafka.TopicDescription, by *kafka.Node) (n int) {
		for _, partition := range topic.Partitions {
			if partition.Leader != nil && partition.Leader.ID == by.ID {
				n++
			}
		}
		return n
	}
	controller := func(cluster kafka.DescribeClusterResult) *kafka.Node { return cluster.Controller }
	cluster, err := admin.DescribeCluster(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, topic := range described.TopicDescriptions {
		fmt.Println(topic.Name, led(topic, controller(cluster)), "of", len(topic.Partitions))
	}
	// Output: orders 1 of 1
}

// The brokers, and which of them leads a partition.
func ExampleMetadata() {
	_, admin, stop := exampleAdmin(exampleServer)
	defer stop()
	topic := "orders"
	leader := func(m *kafka.Metadata, partition int) int32 {
		return m.Topics[topic].Partitions[partition].Leader
	}
	metadata, err := admin.GetMetadata(&topic, false, 5000)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(metadata.Brokers), "broker, leader", leader(metadata, 0))
	// Output: 1 broker, leader 1
}

// A group without members is put to another place, and described.
func ExampleConsumerGroupDescription() {
	ctx, admin, stop := exampleAdmin(exampleBroker)
	defer stop()
	topic := "orders"
	places := []kafka.ConsumerGroupTopicPartitions{{
		Group: "billing", Partitions: []kafka.TopicPartition{{Topic: &topic, Offset: 1}},
	}}
	if _, err := admin.AlterConsumerGroupOffsets(ctx, places); err != nil {
		log.Fatal(err)
	}
	idle := func(group kafka.ConsumerGroupDescription) bool {
		return group.Error.Code() == kafka.ErrNoError && len(group.Members) == 0
	}
	described, err := admin.DescribeConsumerGroups(ctx, []string{"billing"})
	if err != nil {
		log.Fatal(err)
	}
	for _, group := range described.ConsumerGroupDescriptions {
		fmt.Println(group.GroupID, group.State, "idle:", idle(group))
	}
	committed, err := admin.ListConsumerGroupOffsets(ctx, places)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(committed.ConsumerGroupsTopicPartitions[0].Partitions)
	// Output:
	// billing Empty idle: true
	// [orders[0]@1]
}
