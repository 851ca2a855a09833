package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A topic as a program wants it, made when it is not there.
func ExampleTopic() {
	ctx, client, stop := exampleClient()
	defer stop()
	admin := client.Admin()
	ensure := func(ctx context.Context, name string) (*ropewalk.Topic, error) {
		topic, err := admin.CreateTopic(ctx, name, 6, ropewalk.Retention(time.Hour))
		if errors.Is(err, ropewalk.ReasonTopicExists) {
			topic, _, err = admin.GetTopic(ctx, name)
		}
		return topic, err
	}
	made, err := ensure(ctx, "clicks")
	if err != nil {
		log.Fatal(err)
	}
	found, err := ensure(ctx, "clicks")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(found.Name, found.Partitions, found.Settings.Retention, found.ID == made.ID)
	// Output: clicks 6 1h0m0s true
}

// The settings that differ from those that are wanted.
func ExampleTopicSettings() {
	ctx, client, stop := exampleClient()
	defer stop()
	topic, err := client.Admin().CreateTopic(ctx, "accounts", 1,
		ropewalk.Cleanup(ropewalk.CleanupCompact),
		ropewalk.CompressedBy(ropewalk.TopicCompressionZstd),
		ropewalk.Timestamps(ropewalk.TimestampAppend))
	if err != nil {
		log.Fatal(err)
	}
	// As they were read from a file:
	var (
		cleanup    ropewalk.CleanupPolicy    = ropewalk.CleanupCompact
		compressed ropewalk.TopicCompression = ropewalk.TopicCompressionGzip
		clock      ropewalk.TimestampType    = ropewalk.TimestampAppend
	)
	differences := func(s ropewalk.TopicSettings) (wanted []ropewalk.TopicSetting) {
		if s.CleanupPolicy != cleanup {
			wanted = append(wanted, ropewalk.Cleanup(cleanup))
		}
		if s.Compression != compressed {
			wanted = append(wanted, ropewalk.CompressedBy(compressed))
		}
		if s.TimestampType != clock {
			wanted = append(wanted, ropewalk.Timestamps(clock))
		}
		return wanted
	}
	wanted := differences(topic.Settings)
	topic, err = client.Admin().UpdateTopic(ctx, "accounts", wanted...)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(wanted), "differed; now", topic.Settings.CleanupPolicy, topic.Settings.Compression)
	// Output: 1 differed; now compact gzip
}

// The topics that there are, kept up to date from events.
func ExampleTopicEvent() {
	ctx, client, stop := exampleClient()
	defer stop()
	if _, err := client.Admin().CreateTopic(ctx, "clicks", 2); err != nil {
		log.Fatal(err)
	}
	known := map[string]int32{}
	apply := func(event ropewalk.TopicEvent) {
		switch event.Kind {
		case ropewalk.TopicsStarted:
			clear(known)
		case ropewalk.TopicPresent, ropewalk.TopicCreated, ropewalk.TopicChanged:
			known[event.Topic.Name] = event.Topic.Partitions
		case ropewalk.TopicDeleted:
			delete(known, event.Topic.Name)
		}
	}
	for event, err := range client.Admin().WatchTopics(ctx, "") {
		if err != nil {
			log.Fatal(err)
		}
		apply(event)
		if event.Kind == ropewalk.TopicsSynced {
			break // a program goes on
		}
	}
	fmt.Println(known)
	// Output: map[clicks:2]
}

// Where the replicas of a topic are, and whether they have everything.
func ExamplePartitionInfo() {
	ctx, client, stop := exampleBroker()
	defer stop()
	if _, err := client.Admin().CreateTopic(ctx, "orders", 2); err != nil {
		log.Fatal(err)
	}
	inSync := func(replicas []ropewalk.Replica) (n int) {
		for _, replica := range replicas {
			if replica.InSync {
				n++
			}
		}
		return n
	}
	healthy := func(p ropewalk.PartitionInfo) bool {
		return p.Leader != 0 && inSync(p.Members) == len(p.Replicas)
	}
	_, partitions, err := client.Admin().GetTopic(ctx, "orders")
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range partitions {
		fmt.Println(p.Partition, "leader", p.Leader, "healthy:", healthy(p))
	}
	// Output:
	// 0 leader 1 healthy: true
	// 1 leader 1 healthy: true
}

// What is to be seen of a cluster, and moving partitions within it.
func ExampleCluster() {
	ctx, client, stop := exampleClient()
	defer stop()
	admin := client.Admin()
	if _, err := admin.CreateTopic(ctx, "orders", 2); err != nil {
		log.Fatal(err)
	}
	usable := func(b ropewalk.Broker) bool { return b.Alive && !b.Draining && !b.Removed }
	serving := func(cluster *ropewalk.Cluster) (brokers []uint64) {
		for _, b := range cluster.Brokers {
			if usable(b) {
				brokers = append(brokers, b.ID)
			}
		}
		return brokers
	}
	cluster, err := admin.GetCluster(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("without a leader:", cluster.Leaderless, "serving:", serving(cluster))

	// Both partitions are to be where brokers serve.
	var moves []ropewalk.Assignment
	for partition := range int32(2) {
		moves = append(moves, ropewalk.Assignment{
			TopicPartition: ropewalk.TopicPartition{Topic: "orders", Partition: partition},
			Brokers:        serving(cluster)[:1],
		})
	}
	fmt.Println(admin.ReassignPartitions(ctx, moves...))
	// Output:
	// without a leader: 0 serving: [1]
	// <nil>
}
