package ropewalk_test

import (
	"context"
	"fmt"
	"log"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// stamps says in a header which program has sent a record, and tells of records on both sides.
type stamps struct{ program string }

var (
	_ ropewalk.SendInterceptor    = stamps{}
	_ ropewalk.ReceiveInterceptor = stamps{}
)

// OnSend is called once for each record; what it returns, when its outcome is known.
func (s stamps) OnSend(_ context.Context, r *ropewalk.Record) func(ropewalk.Ack, error) {
	r.Headers = append(r.Headers, ropewalk.Header{Key: "sent-by", Value: []byte(s.program)})
	began := time.Now()
	return func(ack ropewalk.Ack, err error) {
		if err != nil || time.Since(began) > time.Minute {
			log.Printf("%s: %v after %v", r.Topic, err, time.Since(began))
			return
		}
		fmt.Println("sent to", r.Topic, "at", ack.Offset)
	}
}

// OnReceive is called before the consumer hands out the record.
func (s stamps) OnReceive(_ context.Context, r *ropewalk.Record) {
	for _, header := range r.Headers {
		if header.Key == "sent-by" {
			fmt.Printf("%s was sent by %s\n", r.Value, header.Value)
		}
	}
}

// One value can see both what is sent and what is read.
func ExampleSendInterceptor() {
	ctx, client, stop := exampleClient()
	defer stop()
	producer, err := client.NewProducer(ropewalk.WithSendInterceptor(stamps{"shop"}))
	if err != nil {
		log.Fatal(err)
	}
	order := &ropewalk.Record{Topic: "orders", Value: []byte("12")}
	if _, err := producer.Send(ctx, order); err != nil {
		log.Fatal(err)
	}
	consumer, err := client.NewConsumer(ctx,
		ropewalk.WithTopics("orders"), ropewalk.WithReceiveInterceptor(stamps{"billing"}))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := consumer.Next(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// sent to orders at 0
	// 12 was sent by shop
}
