package otelropewalk_test

import (
	"context"
	"fmt"
	"log"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	otelropewalk "github.com/ropewalk/ropewalk/sdk-go/otel"
)

// A record that is sent in one trace and worked on in another, which is linked to it.
func Example() {
	server, err := testserver.New() // stands in for a broker
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()
	ctx := context.Background()
	exporter := tracetest.NewInMemoryExporter() // a program has one that sends them somewhere
	telemetry, err := otelropewalk.New(
		otelropewalk.WithTracerProvider(trace.NewTracerProvider(trace.WithSyncer(exporter))))
	if err != nil {
		log.Fatal(err)
	}

	client, err := ropewalk.Dial(ctx, []string{server.Address()}, ropewalk.WithHooks(telemetry))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	producer, err := client.NewProducer(ropewalk.WithSendInterceptor(telemetry))
	if err != nil {
		log.Fatal(err)
	}
	order := &ropewalk.Record{Topic: "orders", Value: []byte("12")}
	if _, err := producer.Send(ctx, order); err != nil {
		log.Fatal(err)
	}

	consumer, err := client.NewConsumer(ctx, ropewalk.WithTopics("orders"),
		ropewalk.WithStop(ropewalk.StopCaughtUp()))
	if err != nil {
		log.Fatal(err)
	}
	for record, err := range consumer.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		err := telemetry.Process(ctx, record, func(context.Context) error {
			fmt.Printf("an order of %s\n", record.Value)
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	for _, span := range exporter.GetSpans() {
		fmt.Printf("%s, %d links\n", span.Name, len(span.Links))
	}
	// Output:
	// an order of 12
	// send orders, 0 links
	// process orders, 1 links
}
