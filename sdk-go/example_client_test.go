package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// One client has all that a program needs, and closing it ends what came from it.
func ExampleClient() {
	address, stop := exampleServer() // "localhost:9092"
	defer stop()
	ctx := context.Background()
	client, err := ropewalk.Dial(ctx, []string{address})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.Admin().CreateTopic(ctx, "orders", 3); err != nil {
		log.Fatal(err)
	}
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	record := &ropewalk.Record{Topic: "orders", Value: []byte("12")}
	if _, err := producer.Send(ctx, record); err != nil {
		log.Fatal(err)
	}
	partitions, err := client.Partitions(ctx, "orders")
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
	_, err = producer.Send(ctx, record)
	fmt.Println(partitions, "partitions, closed:", errors.Is(err, ropewalk.ReasonClosed))
	// Output: 3 partitions, closed: true
}

// Settings can depend on where the program runs.
func ExampleClientOption() {
	address, stop := exampleServer() // "localhost:9092"
	defer stop()
	options := []ropewalk.ClientOption{
		ropewalk.WithClientID("billing"),
		ropewalk.WithRequestTimeout(10 * time.Second),
	}
	if os.Getenv("PRODUCTION") != "" {
		options = append(options, ropewalk.WithTLS(nil), ropewalk.WithoutTopicCreation())
	}
	client, err := ropewalk.Dial(context.Background(), []string{address}, options...)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(client.Close())
	// Output: <nil>
}

// A record for a partition that has a leader now: for what belongs to no key and cannot wait.
func ExampleTopicLayout() {
	ctx, client, stop := exampleClient()
	defer stop()
	if _, err := client.Admin().CreateTopic(ctx, "alarms", 4); err != nil {
		log.Fatal(err)
	}
	last := func(layout ropewalk.TopicLayout) int32 { return layout.Led[len(layout.Led)-1] }

	producer, err := client.NewProducer(ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
	if err != nil {
		log.Fatal(err)
	}
	layout, err := client.Layout(ctx, "alarms")
	if err != nil {
		log.Fatal(err)
	}
	record := &ropewalk.Record{Topic: "alarms", Partition: last(layout), Value: []byte("fire")}
	ack, err := producer.Send(ctx, record)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("partition", ack.Partition, "of", layout.Partitions)
	// Output: partition 3 of 4
}

// Values of one type, to one topic.
func ExampleTypedProducer() {
	ctx, client, stop := exampleClient()
	defer stop()
	type click struct{ Page string }
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	clicks := ropewalk.NewTypedProducer(producer, "clicks", ropewalk.JSON[click]{})
	count := func(clicks *ropewalk.TypedProducer[click], user, page string) (ropewalk.Ack, error) {
		return clicks.Send(ctx, []byte(user), click{page})
	}
	ack, err := count(clicks, "ann", "/prices")
	fmt.Println(ack.Offset, err)
	// Output: 0 <nil>
}

// A function that handles values is given each with the record that it came in.
func ExampleDecoded() {
	ctx, client, stop := exampleClient()
	defer stop()
	fill(ctx, client, "payments", `{"cents": 1200}`, `{"cents": 300}`)
	type payment struct{ Cents int }
	total := 0
	handle := func(paid ropewalk.Decoded[payment]) {
		total += paid.Value.Cents
		fmt.Println("offset", paid.Record.Offset, "total", total)
	}
	consumer, err := client.NewConsumer(ctx,
		ropewalk.WithTopics("payments"), ropewalk.WithStop(ropewalk.StopCaughtUp()))
	if err != nil {
		log.Fatal(err)
	}
	for paid, err := range ropewalk.Values(consumer.Records(ctx), ropewalk.JSON[payment]{}) {
		if err != nil {
			log.Fatal(err)
		}
		handle(paid)
	}
	// Output:
	// offset 0 total 1200
	// offset 1 total 1500
}
