package otelropewalk_test

import (
	"context"
	"fmt"
	"log"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	otelropewalk "github.com/ropewalk/ropewalk/sdk-go/otel"
)

// Records that one call hands out are worked on together, in one span.
func ExampleTelemetry_ProcessBatch() {
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
	orders := []*ropewalk.Record{{Value: []byte("12")}, {Value: []byte("30")}}
	if _, err := producer.Append(ctx, "orders", 0, orders); err != nil {
		log.Fatal(err)
	}

	consumer, err := client.NewConsumer(ctx, ropewalk.WithTopics("orders"),
		ropewalk.WithDeliveryInterceptor(telemetry))
	if err != nil {
		log.Fatal(err)
	}
	records, err := consumer.Poll(ctx)
	if err != nil {
		log.Fatal(err)
	}
	err = telemetry.ProcessBatch(ctx, records, func(ctx context.Context) error {
		return consumer.Commit(ctx, "billing") // in the same trace
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, span := range exporter.GetSpans() {
		fmt.Printf("%s, %d links\n", span.Name, len(span.Links))
	}
	// Output:
	// send orders, 0 links
	// send orders, 0 links
	// receive orders, 2 links
	// commit orders, 0 links
	// process orders, 2 links
}

// Process is given records alone: what the members of a group read is worked on in its name.
func ExampleTelemetry_ForGroup() {
	exporter := tracetest.NewInMemoryExporter()
	telemetry, err := otelropewalk.New(
		otelropewalk.WithTracerProvider(trace.NewTracerProvider(trace.WithSyncer(exporter))))
	if err != nil {
		log.Fatal(err)
	}
	billing := telemetry.ForGroup("billing")
	read := &ropewalk.Record{Topic: "orders", Value: []byte("12")} // by a member
	err = billing.Process(context.Background(), read, func(context.Context) error { return nil })
	if err != nil {
		log.Fatal(err)
	}
	for _, span := range exporter.GetSpans() {
		set := attribute.NewSet(span.Attributes...)
		group, _ := set.Value("messaging.consumer.group.name")
		fmt.Printf("%s, of %s\n", span.Name, group.AsString())
	}
	// Output:
	// process orders, of billing
}

// Options say where spans go, and how they hang together: here the trace of who sent a record goes
// on in who works on it.
func ExampleOption() {
	exporter := tracetest.NewInMemoryExporter()
	options := []otelropewalk.Option{
		otelropewalk.WithTracerProvider(trace.NewTracerProvider(trace.WithSyncer(exporter))),
		otelropewalk.WithProducerAsParent(),
	}
	telemetry, err := otelropewalk.New(options...)
	if err != nil {
		log.Fatal(err)
	}
	ctx, order := context.Background(), &ropewalk.Record{Topic: "orders", Value: []byte("12")}
	answered := telemetry.OnSend(ctx, order) // as a producer calls it
	answered(ropewalk.Ack{}, nil)
	if err := telemetry.Process(ctx, order, func(context.Context) error { return nil }); err != nil {
		log.Fatal(err)
	}
	send, process := exporter.GetSpans()[0], exporter.GetSpans()[1]
	fmt.Println("one trace:", process.SpanContext.TraceID() == send.SpanContext.TraceID())
	// Output:
	// one trace: true
}

// A Carrier is for whoever puts something of a context into headers, or reads it, by himself.
func ExampleCarrier() {
	tenant, err := baggage.NewMember("tenant", "seven")
	if err != nil {
		log.Fatal(err)
	}
	carried, err := baggage.New(tenant)
	if err != nil {
		log.Fatal(err)
	}
	ctx := baggage.ContextWithBaggage(context.Background(), carried)
	record := &ropewalk.Record{Topic: "orders", Value: []byte("12")}
	carrier := otelropewalk.Carrier{Record: record}
	propagation.Baggage{}.Inject(ctx, carrier)
	fmt.Println(carrier.Keys(), carrier.Get("baggage"))
	// Output:
	// [baggage] tenant=seven
}
