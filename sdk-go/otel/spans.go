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
		trace.WithAttributes(t.client.attributes()...),
		trace.WithAttributes(attributesOf(r)...))
	t.inject(ctx, r)
	return func(ack ropewalk.Ack, err error) {
		if err != nil {
			fail(span, err)
		} else {
			span.SetAttributes(append(placeOf(ack.Partition, ack.Offset), serverOf(ack.Address)...)...)
		}
		span.End()
	}
}

// inject has a context travel with a record, and nothing of the one that the record came with.
// Where there is no trace, it is passed on as it is.
func (t *Telemetry) inject(ctx context.Context, r *ropewalk.Record) {
	if trace.SpanContextFromContext(ctx).IsValid() {
		Carrier{r}.remove(t.config.propagator.Fields()...)
	}
	t.config.propagator.Inject(ctx, Carrier{r})
}

// OnDelivery makes the span of a call that hands out records. The consumer calls it.
func (t *Telemetry) OnDelivery(ctx context.Context, d ropewalk.Delivery) {
	_, span := t.startBatch(ctx, d.Records, "receive", d.Group, trace.WithTimestamp(d.Began),
		trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(semconv.MessagingOperationTypeReceive),
		trace.WithAttributes(serverOf(d.Address)...))
	span.End()
}

// settled makes the span of a commit.
func (t *Telemetry) settled(e ropewalk.CommitDone) {
	now := time.Now()
	attributes := []attribute.KeyValue{
		semconv.MessagingSystemKey.String(system), semconv.MessagingOperationName("commit"),
		semconv.MessagingOperationTypeSettle, semconv.MessagingConsumerGroupName(e.Group),
	}
	attributes = append(append(attributes, t.client.attributes()...), serverOf(e.Address)...)
	name := "commit"
	if topic, ok := same(e.Offsets, func(o *ropewalk.CommittedOffset) string { return o.Topic }); ok {
		name += " " + topic
		attributes = append(attributes, semconv.MessagingDestinationName(topic))
	}
	if len(e.Offsets) == 1 {
		attributes = append(attributes, placeOf(e.Offsets[0].Partition, e.Offsets[0].Offset)...)
	}
	_, span := t.tracer.Start(e.Context, name, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(now.Add(-e.Duration)), trace.WithAttributes(attributes...))
	if e.Err != nil {
		fail(span, e.Err)
	}
	span.End(trace.WithTimestamp(now))
}

// Process does something with a record that was read, in a span of its own, and returns its error.
// The context that f gets has the span, and the baggage of whoever sent the record. Where f panics,
// or ends its goroutine, that counts as a failure, and goes on.
func (t *Telemetry) Process(
	ctx context.Context, r *ropewalk.Record, f func(context.Context) error,
) error {
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			semconv.MessagingOperationName("process"), semconv.MessagingOperationTypeProcess),
		trace.WithAttributes(t.client.attributes()...),
		trace.WithAttributes(attributesOf(r)...),
		trace.WithAttributes(placeOf(r.Partition, r.Offset)...),
	}
	if t.group != "" {
		options = append(options, trace.WithAttributes(semconv.MessagingConsumerGroupName(t.group)))
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
	began := time.Now()
	ctx, span := t.tracer.Start(ctx, "process "+r.Topic, options...)
	return t.run(ctx, span, began, series{topic: r.Topic, partition: r.Partition}, f)
}

// ProcessBatch is [Telemetry.Process] for records that are worked on together, as those of a Poll:
// in one span, with a link to whoever sent each of them (128 of them at most) and their number. The
// context that f gets has the span, and no baggage of the senders. The topic and the partition are
// named where they are the same for all. messaging.process.duration counts the whole once. Without
// records it calls f, and does nothing else.
func (t *Telemetry) ProcessBatch(
	ctx context.Context, records []ropewalk.Record, f func(context.Context) error,
) error {
	if len(records) == 0 {
		return f(ctx)
	}
	began := time.Now()
	ctx, span := t.startBatch(ctx, records, "process", t.group,
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(semconv.MessagingOperationTypeProcess))
	place := series{partition: noPartition}
	if topic, ok := same(records, topicOf); ok {
		place.topic = topic
		if partition, ok := same(records, partitionOf); ok {
			place.partition = partition
		}
	}
	return t.run(ctx, span, began, place, f)
}

// run does something in a span, which it ends, and measures it.
func (t *Telemetry) run(
	ctx context.Context, span trace.Span, began time.Time, s series, f func(context.Context) error,
) (err error) {
	s.operation, s.group = "process", t.group
	returned := false
	defer func() {
		switch s.failed = failed(err); {
		case !returned: // it panics, or ends the goroutine: that goes on by itself
			s.failed = panicked
			span.SetAttributes(semconv.ErrorTypeKey.String(panicked))
			span.SetStatus(otelcodes.Error, "it did not return")
		case err != nil:
			fail(span, err)
		}
		t.took(ctx, t.meters.processes.Inst(), time.Since(began), s)
		span.End()
	}()
	err = f(ctx)
	returned = true
	return err
}

// panicked is the error.type of a function that did not return.
const panicked = "panic"

// Extract returns the context with the span and the baggage of whoever sent a record, for spans of
// one's own: trace.LinkFromContext makes a link of it.
func (t *Telemetry) Extract(ctx context.Context, r *ropewalk.Record) context.Context {
	return t.config.propagator.Extract(ctx, Carrier{r})
}

// mostLinks bounds the links of a span. It is what the SDK takes, unless it is told otherwise.
const mostLinks = 128

// startBatch begins a span of records that were read.
func (t *Telemetry) startBatch(
	ctx context.Context, records []ropewalk.Record, operation, group string,
	options ...trace.SpanStartOption,
) (context.Context, trace.Span) {
	attributes := []attribute.KeyValue{
		semconv.MessagingSystemKey.String(system), semconv.MessagingOperationName(operation),
		semconv.MessagingBatchMessageCount(len(records)),
	}
	name := operation
	if topic, ok := same(records, topicOf); ok {
		name += " " + topic
		attributes = append(attributes, semconv.MessagingDestinationName(topic))
		if partition, ok := same(records, partitionOf); ok {
			attributes = append(attributes,
				semconv.MessagingDestinationPartitionID(strconv.Itoa(int(partition))))
		}
	}
	if len(records) == 1 {
		attributes = append(attributes, offsetKey.Int64(records[0].Offset))
	}
	if group != "" {
		attributes = append(attributes, semconv.MessagingConsumerGroupName(group))
	}
	var links []trace.Link
	for i := 0; i < len(records) && len(links) < mostLinks; i++ {
		sent := t.Extract(context.Background(), &records[i])
		if sender := trace.SpanContextFromContext(sent); sender.IsValid() {
			links = append(links, trace.Link{SpanContext: sender})
		}
	}
	return t.tracer.Start(ctx, name, append(options, trace.WithAttributes(attributes...),
		trace.WithAttributes(t.client.attributes()...), trace.WithLinks(links...))...)
}

func topicOf(r *ropewalk.Record) string    { return r.Topic }
func partitionOf(r *ropewalk.Record) int32 { return r.Partition }

// same returns what all of a list have in common, if they do.
func same[T any, V comparable](list []T, of func(*T) V) (common V, ok bool) {
	for i := range list {
		if value := of(&list[i]); i == 0 {
			common = value
		} else if value != common {
			return *new(V), false
		}
	}
	return common, len(list) > 0
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
		list = append(list, keyKey.String(shortened(r.Key)))
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

// mostKeyBytes bounds a key in the attributes of a span: keys may be as large as records.
const mostKeyBytes = 256

// shortened is a key in UTF-8, or its beginning.
func shortened(key []byte) string {
	if len(key) <= mostKeyBytes {
		return string(key)
	}
	end := mostKeyBytes
	for !utf8.RuneStart(key[end]) {
		end--
	}
	return string(key[:end])
}
