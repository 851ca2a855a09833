package otelropewalk

import (
	"context"
	"strconv"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	otelcodes "go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// What the conventions have for Kafka alone.
const (
	offsetKey    = attribute.Key("messaging.ropewalk.offset")
	keyKey       = attribute.Key("messaging.ropewalk.message.key")
	tombstoneKey = attribute.Key("messaging.ropewalk.message.tombstone")
)

// OnSend begins the span of a record, and has its context travel with it. The producer calls it.
func (t *Telemetry) OnSend(ctx context.Context, r *ropewalk.Record) func(ropewalk.Ack, error) {
	ctx, span := t.tracer.Start(ctx, "send "+r.Topic,
		trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(semconv.MessagingOperationName("send"), semconv.MessagingOperationTypeSend),
		trace.WithAttributes(attributesOf(r)...))
	t.config.propagator.Inject(ctx, Carrier{r})
	return func(ack ropewalk.Ack, err error) {
		if err != nil {
			fail(span, err)
		} else {
			span.SetAttributes(placeOf(ack.Partition, ack.Offset)...)
		}
		span.End()
	}
}

// OnReceive makes the span of a record that is handed out. The consumer calls it.
func (t *Telemetry) OnReceive(ctx context.Context, r *ropewalk.Record) {
	_, span := t.start(ctx, r, "receive", trace.SpanKindClient, semconv.MessagingOperationTypeReceive)
	span.End()
}

// Process does something with a record that was read, in a span of its own, and returns its error.
// The context that f gets has the span, and the baggage of whoever sent the record.
func (t *Telemetry) Process(
	ctx context.Context, r *ropewalk.Record, f func(context.Context) error,
) (err error) {
	began := time.Now()
	ctx, span := t.start(ctx, r, "process",
		trace.SpanKindConsumer, semconv.MessagingOperationTypeProcess)
	defer span.End() // also where f panics
	err = f(ctx)
	if err != nil {
		fail(span, err)
	}
	t.processed(ctx, r, time.Since(began), err)
	return err
}

// Extract returns the context with the span and the baggage of whoever sent a record, for spans of
// one's own: trace.LinkFromContext makes a link of it.
func (t *Telemetry) Extract(ctx context.Context, r *ropewalk.Record) context.Context {
	return t.config.propagator.Extract(ctx, Carrier{r})
}

// start begins a span of a record that was read.
func (t *Telemetry) start(
	ctx context.Context, r *ropewalk.Record, operation string, kind trace.SpanKind,
	operationType attribute.KeyValue,
) (context.Context, trace.Span) {
	options := []trace.SpanStartOption{
		trace.WithSpanKind(kind),
		trace.WithAttributes(semconv.MessagingOperationName(operation), operationType),
		trace.WithAttributes(attributesOf(r)...),
		trace.WithAttributes(placeOf(r.Partition, r.Offset)...),
	}
	if name := t.config.group; name != "" {
		options = append(options, trace.WithAttributes(semconv.MessagingConsumerGroupName(name)))
	}
	sent := t.Extract(context.Background(), r)
	if sender := trace.SpanContextFromContext(sent); sender.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: sender}))
		if t.config.parent && !trace.SpanContextFromContext(ctx).IsValid() {
			ctx = trace.ContextWithRemoteSpanContext(ctx, sender)
		}
	}
	if b := baggage.FromContext(sent); b.Len() > 0 {
		ctx = baggage.ContextWithBaggage(ctx, b)
	}
	return t.tracer.Start(ctx, operation+" "+r.Topic, options...)
}

func fail(span trace.Span, err error) {
	span.SetAttributes(errorType(err))
	span.SetStatus(otelcodes.Error, err.Error())
}

func attributesOf(r *ropewalk.Record) []attribute.KeyValue {
	list := []attribute.KeyValue{
		semconv.MessagingSystemKey.String(system),
		semconv.MessagingDestinationName(r.Topic),
		semconv.MessagingMessageBodySize(len(r.Value)),
	}
	if r.Key != nil && utf8.Valid(r.Key) {
		list = append(list, keyKey.String(string(r.Key)))
	}
	if r.Key != nil && r.Value == nil {
		list = append(list, tombstoneKey.Bool(true))
	}
	return list
}

func placeOf(partition int32, offset int64) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingDestinationPartitionID(strconv.Itoa(int(partition))), offsetKey.Int64(offset),
	}
}
