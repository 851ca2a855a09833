package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// Poll hands out records as they came in, many at once.
func ExampleConsumer_Poll() {
	ctx, client, stop := exampleClient()
	defer stop()
	fill(ctx, client, "readings", "1", "2", "3")
	consumer, err := client.NewConsumer(ctx, ropewalk.WithTopics("readings"))
	if err != nil {
		log.Fatal(err)
	}
	for read := 0; read < 3; {
		records, err := consumer.Poll(ctx)
		if err != nil {
			log.Fatal(err)
		}
		read += len(records)
	}
	for _, position := range consumer.Positions() {
		fmt.Println(position.Topic, position.Partition, position.Offset, position.Lag())
	}
	// Output: readings 0 3 0
}

// The end of what there is now, read from where one likes.
func ExampleStart() {
	ctx, client, stop := exampleClient()
	defer stop()
	fill(ctx, client, "readings", "a", "b", "c", "d")
	consumer, err := client.NewConsumer(ctx,
		ropewalk.WithPartition("readings", 0, ropewalk.StartOffset(1)),
		ropewalk.WithStop(ropewalk.StopOffset(3)))
	if err != nil {
		log.Fatal(err)
	}
	for record, err := range consumer.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s ", record.Value)
	}
	// Output: b c
}

// exampleGroup is a client of a broker that gives a member two orders.
func exampleGroup() (ctx context.Context, client *ropewalk.Client, stop func()) {
	server, err := testserver.New()
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	client, err = ropewalk.Dial(ctx, []string{server.Address()})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		stream := server.Join(ctx)
		if stream == nil {
			return
		}
		stream.Send(&pb.Started{MemberId: "m", Generation: 1})
		stream.Send(&pb.Assignment{
			Generation: 1, Assigned: []*pb.PartitionPosition{{Topic: "orders"}},
		})
		stream.Send(&pb.RecordBatch{
			Topic: "orders", RecordCount: 2, Compression: pb.Compression_COMPRESSION_NONE,
			Data: &pb.RecordBatch_Records{Records: &pb.RecordSet{
				Records: []*pb.Record{{Value: []byte("12")}, {Value: []byte("13")}},
			}},
		})
	}()
	return ctx, client, func() {
		_ = client.Close() // the server is gone in a moment
		cancel()
		server.Stop()
	}
}

// A member of a group reads its share, and commits what it is done with. Most programs leave that
// to the member: without GroupManualCommit, and with a plain range over Records.
func ExampleGroupConsumer() {
	ctx, client, stop := exampleGroup()
	defer stop()
	member, err := client.JoinGroup(ctx, "billing",
		ropewalk.GroupTopics("orders"), ropewalk.GroupManualCommit(),
		ropewalk.GroupAssigned(func(_ context.Context, positions []ropewalk.Position) {
			fmt.Println("has", positions[0].Topic, positions[0].Partition)
		}))
	if err != nil {
		log.Fatal(err)
	}
	for record, err := range member.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("bill %s\n", record.Value)
		err := member.CommitOffset(ctx, record.ToCommit())
		if errors.Is(err, ropewalk.ReasonMemberFenced) {
			continue // another member has the partition, and reads the record again
		}
		if err != nil {
			log.Fatal(err)
		}
		if record.Offset == 1 {
			break
		}
	}
	if err := member.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// has orders 0
	// bill 12
	// bill 13
}

// Where partitions begin and end, and where the first record of a time is.
func ExampleOffsetQuery() {
	ctx, client, stop := exampleClient()
	defer stop()
	fill(ctx, client, "readings", "a", "b", "c")
	offsets, err := client.Admin().ListOffsets(ctx,
		ropewalk.QueryEarliest("readings", 0),
		ropewalk.QueryLatest("readings", ropewalk.AllPartitions))
	if err != nil {
		log.Fatal(err)
	}
	for _, o := range offsets {
		fmt.Println(o.Topic, o.Partition, o.Offset)
	}
	// Output:
	// readings 0 0
	// readings 0 3
}

// Settings are given when a topic is created, and changed later; the others stay as they are.
func ExampleTopicSetting() {
	ctx, client, stop := exampleClient()
	defer stop()
	admin := client.Admin()
	_, err := admin.CreateTopic(ctx, "clicks", 2,
		ropewalk.Retention(time.Hour), ropewalk.MaxRecordBytes(64<<10))
	if err != nil {
		log.Fatal(err)
	}
	topic, err := admin.UpdateTopic(ctx, "clicks", ropewalk.Retention(24*time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(topic.Settings.Retention, topic.Settings.MaxRecordBytes)
	// Output: 24h0m0s 65536
}
