package ropewalktest_test

import (
	"context"
	"fmt"
	"log"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/examplecheck"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// exampleT is what a test has as its t.
func exampleT() (t *examplecheck.T, end func()) {
	t = examplecheck.NewT()
	return t, t.End
}

// A program's test has a broker of its own, until it ends: with settings, and a crash meanwhile.
func ExampleBroker() {
	t, end := exampleT() // func TestOrders(t *testing.T)
	defer end()

	options := []ropewalktest.Option{ropewalktest.WithFlags("--default-partitions=3")}
	var broker *ropewalktest.Broker = ropewalktest.Start(t, options...)

	ctx := context.Background() // t.Context()
	client, err := ropewalk.Dial(ctx, []string{broker.Address})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	send := func(value string) {
		record := &ropewalk.Record{Topic: "orders", Key: []byte("ann"), Value: []byte(value)}
		ack, err := producer.Send(ctx, record)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(value, "is at", ack.Offset)
	}
	send("before")
	broker.Kill()
	broker.Run()
	send("after")
	partitions, err := client.Partitions(ctx, "orders")
	fmt.Println(partitions, "partitions", err)
	// Output:
	// before is at 0
	// after is at 1
	// 3 partitions <nil>
}
