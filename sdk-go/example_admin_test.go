package ropewalk_test

import (
	"context"
	"fmt"
	"log"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// What there is of topics, and then each change to it, as it happens.
func ExampleAdmin_WatchTopics() {
	ctx, client, stop := exampleClient()
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	admin := client.Admin()
	if _, err := admin.CreateTopic(ctx, "clicks", 1); err != nil {
		log.Fatal(err)
	}
	for event, err := range admin.WatchTopics(ctx, "") {
		if err != nil {
			log.Fatal(err)
		}
		switch event.Kind {
		case ropewalk.TopicPresent:
			fmt.Println("there is", event.Topic.Name)
		case ropewalk.TopicsSynced:
			if _, err := admin.CreateTopic(ctx, "views", 2); err != nil {
				log.Fatal(err)
			}
		case ropewalk.TopicCreated:
			fmt.Println("new is", event.Topic.Name)
			return
		}
	}
	// Output:
	// there is clicks
	// new is views
}

func ExampleAdmin_GetCluster() {
	ctx, client, stop := exampleClient()
	defer stop()
	cluster, err := client.Admin().GetCluster(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, broker := range cluster.Brokers {
		fmt.Println("broker", broker.ID, "alive:", broker.Alive)
	}
	// Output: broker 1 alive: true
}

// A producer for which throughput counts more than a few milliseconds: records wait for others, for
// larger batches that compress better.
func ExampleBatching() {
	ctx, client, stop := exampleClient()
	defer stop()
	producer, err := client.NewProducer(ropewalk.WithBatching(ropewalk.Batching{
		Linger: 20 * time.Millisecond, Bytes: 64 << 10,
	}))
	if err != nil {
		log.Fatal(err)
	}
	for i := range 100 {
		record := &ropewalk.Record{Topic: "metrics", Value: fmt.Append(nil, i)}
		if err := producer.SendAsync(ctx, record, nil); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(producer.Flush(ctx))
	// Output: <nil>
}

// A strategy of one's own: the member that joined first has everything, and the others wait for its
// place.
func ExampleGroupPlanner() {
	firstHasAll := func(r ropewalk.PlanRequest) ropewalk.GroupPlan {
		plan := ropewalk.GroupPlan{}
		first := r.Members[0].ID
		for topic, partitions := range r.Topics {
			for partition := range partitions {
				plan[first] = append(plan[first], ropewalk.TopicPartition{Topic: topic, Partition: partition})
			}
		}
		return plan
	}
	ctx, client, stop := exampleGroup()
	defer stop()
	member, err := client.JoinGroup(ctx, "standby", ropewalk.GroupTopics("orders"),
		ropewalk.GroupPlanner("first-has-all", firstHasAll))
	if err != nil {
		log.Fatal(err)
	}
	record, err := member.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", record.Value)
	// What the member answers when the group asks it:
	plan := firstHasAll(ropewalk.PlanRequest{
		Topics:  map[string]int32{"jobs": 2},
		Members: []ropewalk.PlanMember{{ID: "a"}, {ID: "b"}},
	})
	fmt.Println(plan)
	// Output:
	// 12
	// map[a:[{jobs 0} {jobs 1}]]
}
