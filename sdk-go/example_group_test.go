package ropewalk_test

import (
	"context"
	"fmt"
	"log"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/examplecheck"
)

// exampleBroker is a client of a real broker.
func exampleBroker() (ctx context.Context, client *ropewalk.Client, stop func()) {
	address, end := examplecheck.Broker()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	client, err := ropewalk.Dial(ctx, []string{address})
	if err != nil {
		log.Fatal(err)
	}
	return ctx, client, func() {
		_ = client.Close() // the broker is gone in a moment
		cancel()
		end()
	}
}

// How far groups are behind, who is in them, and a place that is set for one from outside.
func ExampleGroupDescription() {
	ctx, client, stop := exampleBroker()
	defer stop()
	fill(ctx, client, "orders", "a", "b", "c")
	admin := client.Admin()
	err := admin.CommitOffset(ctx, "billing", ropewalk.CommittedOffset{
		TopicPartition: ropewalk.TopicPartition{Topic: "orders"}, Offset: 1, Metadata: "by hand",
	})
	if err != nil {
		log.Fatal(err)
	}

	lag := func(group *ropewalk.GroupDescription) (total int64) {
		for _, offset := range group.Offsets {
			total += max(offset.Lag, 0) // -1 where the partition has no leader
		}
		return total
	}
	for summary, err := range admin.Groups(ctx, "") {
		if err != nil {
			log.Fatal(err)
		}
		group, err := admin.GetGroup(ctx, summary.Name)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(group.Name, group.State, "lag", lag(group))
		for _, member := range group.Members {
			fmt.Println(member.ClientID, "at", member.Host, "has", member.Assigned)
		}
	}
	// Output: billing empty lag 2
}

// What is the same for all members of a program is kept in one place.
func ExampleGroupOption() {
	ctx, client, stop := exampleGroup()
	defer stop()
	usual := []ropewalk.GroupOption{
		ropewalk.GroupClientID("billing-7"),
		ropewalk.GroupStart(ropewalk.StartLatest()),
		ropewalk.GroupAutoCommit(time.Second),
	}
	member, err := client.JoinGroup(ctx, "billing", append(usual, ropewalk.GroupTopics("orders"))...)
	if err != nil {
		log.Fatal(err)
	}
	for record, err := range member.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", record.Value)
		if record.Offset == 1 {
			break
		}
	}
	if err := member.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 12
	// 13
}
