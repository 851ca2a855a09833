package ropewalk_test

import (
	"fmt"
	"log"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// How far behind a consumer is.
func ExamplePosition() {
	ctx, client, stop := exampleClient()
	defer stop()
	fill(ctx, client, "readings", "a", "b", "c")
	consumer, err := client.NewConsumer(ctx, ropewalk.WithTopics("readings"))
	if err != nil {
		log.Fatal(err)
	}
	late := func(p ropewalk.Position) bool { return p.Lag() > 1 }
	for range 3 {
		if _, err := consumer.Next(ctx); err != nil {
			log.Fatal(err)
		}
		if position, ok := consumer.Position("readings", 0); ok {
			fmt.Println("next", position.Offset, "late:", late(position))
		}
	}
	// Output:
	// next 1 late: true
	// next 2 late: false
	// next 3 late: false
}

// Where reading ends: with what there is now, or at a time.
func ExampleStop() {
	ctx, client, stop := exampleClient()
	defer stop()
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for hour := range 4 {
		_, err := producer.Send(ctx, &ropewalk.Record{
			Topic: "visits", Value: fmt.Append(nil, 12+hour),
			Timestamp: noon.Add(time.Duration(hour) * time.Hour),
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	read := func(name string, start ropewalk.Start, stop ropewalk.Stop) {
		consumer, err := client.NewConsumer(ctx, ropewalk.WithTopics("visits"),
			ropewalk.WithStart(start), ropewalk.WithStop(stop))
		if err != nil {
			log.Fatal(err)
		}
		defer consumer.Close()
		for record, err := range consumer.Records(ctx) {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("%s: %s\n", name, record.Value)
		}
	}
	read("all", ropewalk.StartEarliest(), ropewalk.StopCaughtUp())
	read("some", ropewalk.StartTime(noon.Add(time.Hour)),
		ropewalk.StopTime(noon.Add(3*time.Hour)))
	// Output:
	// all: 12
	// all: 13
	// all: 14
	// all: 15
	// some: 13
	// some: 14
}

// A consumer of some partitions, each from where it was left: an option for each.
func ExampleConsumerOption() {
	ctx, client, stop := exampleClient()
	defer stop()
	fill(ctx, client, "readings", "a", "b", "c")
	left := map[ropewalk.TopicPartition]int64{{Topic: "readings", Partition: 0}: 2}

	options := []ropewalk.ConsumerOption{ropewalk.WithFetchBytes(64 << 10)}
	for tp, offset := range left {
		start := ropewalk.StartOffset(offset)
		options = append(options, ropewalk.WithPartition(tp.Topic, tp.Partition, start))
	}
	consumer, err := client.NewConsumer(ctx, options...)
	if err != nil {
		log.Fatal(err)
	}
	record, err := consumer.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d: %s\n", record.Offset, record.Value)
	// Output: 2: c
}
