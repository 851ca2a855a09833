package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// exampleServer stands in for a broker, so that the examples run by themselves.
func exampleServer() (address string, stop func()) {
	server, err := testserver.New()
	if err != nil {
		log.Fatal(err)
	}
	return server.Address(), server.Stop
}

func Example() {
	address, stop := exampleServer() // "localhost:9092"
	defer stop()
	ctx := context.Background()

	client, err := ropewalk.Dial(ctx, []string{address})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	ack, err := producer.Send(ctx, &ropewalk.Record{Topic: "greetings", Value: []byte("hello")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("partition", ack.Partition, "offset", ack.Offset)

	consumer, err := client.NewConsumer(ctx, ropewalk.WithTopics("greetings"))
	if err != nil {
		log.Fatal(err)
	}
	record, err := consumer.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", record.Value)
	// Output:
	// partition 0 offset 0
	// hello
}

func ExampleProducer_SendAsync() {
	address, stop := exampleServer()
	defer stop()
	ctx := context.Background()
	client, err := ropewalk.Dial(ctx, []string{address})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	for i := range 3 {
		record := &ropewalk.Record{Topic: "numbers", Value: fmt.Append(nil, i)}
		err := producer.SendAsync(ctx, record, func(r *ropewalk.Record, ack ropewalk.Ack, err error) {
			if err != nil {
				log.Printf("lost %s: %v", r.Value, err)
				return
			}
			fmt.Printf("%s is at offset %d\n", r.Value, ack.Offset)
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 0 is at offset 0
	// 1 is at offset 1
	// 2 is at offset 2
}

func ExampleProducer_Append() {
	address, stop := exampleServer()
	defer stop()
	ctx := context.Background()
	client, err := ropewalk.Dial(ctx, []string{address})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}

	// Of two writers that both saw an empty partition, one wins.
	for _, writer := range []string{"one", "two"} {
		records := []*ropewalk.Record{{Value: []byte(writer)}}
		_, err := producer.Append(ctx, "ledger", 0, records, ropewalk.IfOffset(0))
		fmt.Println(writer, "lost:", errors.Is(err, ropewalk.ReasonExpectedOffsetMismatch))
	}
	// Output:
	// one lost: false
	// two lost: true
}

// traceOf is the key under which a context has the trace that its work is part of.
type traceOf struct{}

// Spans of one trace on both sides of a topic: the producer passes its trace on in a header, as the W3C
// has it (Trace Context), and the consumer reads it.
func ExampleWithSendInterceptor() {
	address, stop := exampleServer()
	defer stop()
	client, err := ropewalk.Dial(context.Background(), []string{address})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	passOn := func(ctx context.Context, r *ropewalk.Record) func(ropewalk.Ack, error) {
		trace, ok := ctx.Value(traceOf{}).(string)
		if !ok {
			return nil
		}
		r.Headers = append(r.Headers, ropewalk.Header{Key: "traceparent", Value: []byte(trace)})
		// Here a span would begin, which ends in the function.
		return func(ack ropewalk.Ack, err error) { fmt.Println("sent:", ack.Offset, err) }
	}
	producer, err := client.NewProducer(ropewalk.WithSendInterceptor(ropewalk.SendInterceptorFunc(passOn)))
	if err != nil {
		log.Fatal(err)
	}
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := context.WithValue(context.Background(), traceOf{}, trace)
	if _, err := producer.Send(ctx, &ropewalk.Record{Topic: "orders", Value: []byte("12")}); err != nil {
		log.Fatal(err)
	}

	tell := func(_ context.Context, r *ropewalk.Record) {
		for _, h := range r.Headers {
			if h.Key == "traceparent" {
				fmt.Printf("received: %s\n", h.Value)
			}
		}
	}
	consumer, err := client.NewConsumer(ctx, ropewalk.WithTopics("orders"),
		ropewalk.WithReceiveInterceptor(ropewalk.ReceiveInterceptorFunc(tell)))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := consumer.Next(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// sent: 0 <nil>
	// received: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
}

func ExampleConsumer_Records() {
	address, stop := exampleServer()
	defer stop()
	ctx := context.Background()
	client, err := ropewalk.Dial(ctx, []string{address})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fill(ctx, client, "orders", "a", "b", "c")

	consumer, err := client.NewConsumer(ctx, ropewalk.WithTopics("orders"),
		ropewalk.WithStart(ropewalk.StartCommitted("billing")), ropewalk.WithStop(ropewalk.StopCaughtUp()))
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	for record, err := range consumer.Records(ctx) {
		var gap *ropewalk.Gap
		if errors.As(err, &gap) {
			log.Printf("missed %d records", gap.To-gap.From)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d: %s\n", record.Offset, record.Value)
	}
	if err := consumer.Commit(ctx, "billing"); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 0: a
	// 1: b
	// 2: c
}

func ExampleAdmin_Topics() {
	address, stop := exampleServer()
	defer stop()
	ctx := context.Background()
	client, err := ropewalk.Dial(ctx, []string{address})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	admin := client.Admin()
	for _, name := range []string{"clicks", "views"} {
		if _, err := admin.CreateTopic(ctx, name, 4, ropewalk.Retention(time.Hour)); err != nil {
			log.Fatal(err)
		}
	}
	for topic, err := range admin.Topics(ctx, "") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(topic.Name, topic.Partitions, topic.Settings.Retention)
	}
	// Output:
	// clicks 4 1h0m0s
	// views 4 1h0m0s
}

func fill(ctx context.Context, client *ropewalk.Client, topic string, values ...string) {
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	for _, value := range values {
		if _, err := producer.Send(ctx, &ropewalk.Record{Topic: topic, Value: []byte(value)}); err != nil {
			log.Fatal(err)
		}
	}
}
