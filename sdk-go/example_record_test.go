package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// All that a record can have. Only the topic is needed.
func ExampleRecord() {
	ctx, client, stop := exampleClient()
	defer stop()
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	_, err = producer.Send(ctx, &ropewalk.Record{
		Topic:     "sessions",
		Key:       []byte("ann"), // records of a key stay in order
		Value:     []byte("signed in"),
		Headers:   []ropewalk.Header{{Key: "from", Value: []byte("10.0.0.7")}},
		Timestamp: time.Unix(1_000_000_000, 0),
		TTL:       time.Hour, // then nobody is given it any more
	})
	if err != nil {
		log.Fatal(err)
	}
	// Without a value: what was said of the key holds no more.
	end := &ropewalk.Record{Topic: "sessions", Key: []byte("ann")}
	if _, err := producer.Send(ctx, end); err != nil {
		log.Fatal(err)
	}

	consumer, err := client.NewConsumer(ctx,
		ropewalk.WithTopics("sessions"), ropewalk.WithStop(ropewalk.StopCaughtUp()))
	if err != nil {
		log.Fatal(err)
	}
	for r, err := range consumer.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if r.Value == nil {
			fmt.Printf("%s: a tombstone\n", r.Key)
			continue
		}
		fmt.Printf("%s: %s, %s %s, %d\n",
			r.Key, r.Value, r.Headers[0].Key, r.Headers[0].Value, r.Timestamp.Unix())
	}
	// Output:
	// ann: signed in, from 10.0.0.7, 1000000000
	// ann: a tombstone
}

// What must be true of a record before it counts as sent. The answer says what was reached.
func ExampleDurability() {
	ctx, client, stop := exampleClient()
	defer stop()
	for _, durability := range []ropewalk.Durability{
		ropewalk.DurabilityQuorum, // the default
		ropewalk.DurabilityNone,   // for what may be lost, as samples of a metric
	} {
		producer, err := client.NewProducer(ropewalk.WithDurability(durability))
		if err != nil {
			log.Fatal(err)
		}
		ack, err := producer.Send(ctx, &ropewalk.Record{Topic: "samples", Value: []byte("12")})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("wanted", durability, "reached", ack.Achieved)
	}
	// Output:
	// wanted quorum reached quorum
	// wanted none reached none
}

// Settings can depend on how the program was started.
func ExampleProducerOption() {
	_, client, stop := exampleClient()
	defer stop()
	bulk := true // a flag of the program
	options := []ropewalk.ProducerOption{ropewalk.WithDeliveryTimeout(time.Minute)}
	if bulk {
		options = append(options,
			ropewalk.WithBatching(ropewalk.Batching{Linger: 50 * time.Millisecond, Bytes: 1 << 20}),
			ropewalk.WithBatchBytes(1<<20))
	}
	producer, err := client.NewProducer(options...)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(producer.Close())
	// Output: <nil>
}

// An append can have a condition, or none: here, that nothing came after what was seen.
func ExampleAppendOption() {
	ctx, client, stop := exampleClient()
	defer stop()
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	write := func(value string, conditions ...ropewalk.AppendOption) error {
		records := []*ropewalk.Record{{Value: []byte(value)}}
		_, err := producer.Append(ctx, "ledger", 0, records, conditions...)
		return err
	}
	fmt.Println(write("100"))
	fmt.Println(write("150", ropewalk.IfOffset(1)))
	err = write("120", ropewalk.IfOffset(1))
	fmt.Println(errors.Is(err, ropewalk.ReasonExpectedOffsetMismatch))
	// Output:
	// <nil>
	// <nil>
	// true
}

// When it is not known whether a record is in the log, a retry of the program's own could double
// it.
func ExampleOutcome() {
	ctx, client, stop := exampleClient()
	defer stop()
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err = producer.Send(ended, &ropewalk.Record{Topic: "orders", Value: []byte("12")})

	advice := map[ropewalk.Outcome]string{
		ropewalk.OutcomeNo:    "it is surely not there: send it again",
		ropewalk.OutcomeMaybe: "it is perhaps there: look first",
	}
	var failure *ropewalk.Error
	if errors.As(err, &failure) {
		fmt.Println(failure.Reason, "-", advice[failure.Appended()])
	}
	// Output: CLIENT_CANCELED - it is surely not there: send it again
}

// A program can answer its own callers by the reason of an error.
func ExampleReason() {
	ctx, client, stop := exampleClient()
	defer stop()
	statuses := map[ropewalk.Reason]int{
		ropewalk.ReasonTopicNotFound:    404,
		ropewalk.ReasonTopicExists:      409,
		ropewalk.ReasonInvalidTopicName: 400,
	}
	status := func(err error) int {
		var failure *ropewalk.Error
		if err == nil {
			return 200
		}
		if errors.As(err, &failure) && statuses[failure.Reason] != 0 {
			return statuses[failure.Reason]
		}
		return 500
	}
	admin := client.Admin()
	_, err := admin.CreateTopic(ctx, "clicks", 1)
	fmt.Println(status(err))
	_, err = admin.CreateTopic(ctx, "clicks", 1)
	fmt.Println(status(err))
	fmt.Println(status(admin.DeleteTopic(ctx, "views")))
	// Output:
	// 200
	// 409
	// 404
}
