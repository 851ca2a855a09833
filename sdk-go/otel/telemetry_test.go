package otelropewalk_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	otelropewalk "github.com/ropewalk/ropewalk/sdk-go/otel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// observed is a client that reports to exporters in memory, with the server that it is connected
// to.
type observed struct {
	*otelropewalk.Telemetry
	client *ropewalk.Client
	server *testserver.Server
	// broker is what spans and metrics say of where the server is.
	broker []attribute.KeyValue
	spans  *tracetest.InMemoryExporter
	tracer trace.Tracer
	reader *sdkmetric.ManualReader
}

func observe(t *testing.T, options ...otelropewalk.Option) *observed {
	t.Helper()
	o := &observed{spans: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader()}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(o.spans))
	o.tracer = tracers.Tracer("test")
	options = append([]otelropewalk.Option{
		otelropewalk.WithTracerProvider(tracers),
		otelropewalk.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(o.reader))),
	}, options...)
	var err error
	if o.Telemetry, err = otelropewalk.New(options...); err != nil {
		t.Fatal(err)
	}
	if o.server, err = testserver.New(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.server.Stop)
	_, port, err := net.SplitHostPort(o.server.Address())
	if err != nil {
		t.Fatal(err)
	}
	o.client, err = ropewalk.Dial(bounded(t), []string{"localhost:" + port},
		ropewalk.WithLogger(slog.New(slog.DiscardHandler)), ropewalk.WithHooks(o),
		ropewalk.WithClientID("till"))
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	o.broker = []attribute.KeyValue{
		attribute.String("server.address", "localhost"), attribute.Int("server.port", number),
	}
	t.Cleanup(func() { _ = o.client.Close() }) // the tests that look at it do so themselves
	return o
}

// bounded has a test that hangs fail.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (o *observed) producer(t *testing.T) *ropewalk.Producer {
	t.Helper()
	producer, err := o.client.NewProducer(ropewalk.WithSendInterceptor(o))
	if err != nil {
		t.Fatal(err)
	}
	return producer
}

func (o *observed) consumer(t *testing.T, options ...ropewalk.ConsumerOption) *ropewalk.Consumer {
	t.Helper()
	consumer, err := o.client.NewConsumer(bounded(t),
		append(options, ropewalk.WithTopics("orders"))...)
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

// span returns the one span with a name.
func (o *observed) span(t *testing.T, name string) tracetest.SpanStub {
	t.Helper()
	spans := slices.DeleteFunc(o.spans.GetSpans(), func(s tracetest.SpanStub) bool {
		return s.Name != name
	})
	if len(spans) != 1 {
		t.Fatalf("there are %d spans %s", len(spans), name)
	}
	return spans[0]
}

// expectAttributes compares all attributes, but for those of no interest.
func expectAttributes(
	t *testing.T, what string, found []attribute.KeyValue, want ...attribute.KeyValue,
) {
	t.Helper()
	a, b := attribute.NewSet(found...), attribute.NewSet(want...)
	if !a.Equals(&b) {
		t.Errorf("%s has %s, not %s", what, a.Encoded(encoder), b.Encoded(encoder))
	}
}

var encoder = attribute.DefaultEncoder()

func order(key, value string) *ropewalk.Record {
	return &ropewalk.Record{Topic: "orders", Key: []byte(key), Value: []byte(value)}
}

// The span that sends is part of the program's trace, and the one that processes is linked to it.
func TestSpansOfARecord(t *testing.T) {
	o := observe(t)
	member, err := baggage.NewMember("tenant", "seven")
	if err != nil {
		t.Fatal(err)
	}
	carried, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	ctx, parent := o.tracer.Start(baggage.ContextWithBaggage(bounded(t), carried), "request")
	if _, err := o.producer(t).Send(ctx, order("k", "twelve")); err != nil {
		t.Fatal(err)
	}
	parent.End()
	record, err := o.consumer(t, ropewalk.WithDeliveryInterceptor(o)).Next(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	err = o.Process(bounded(t), record, func(ctx context.Context) error {
		if tenant := baggage.FromContext(ctx).Member("tenant").Value(); tenant != "seven" {
			t.Errorf("the baggage has %q", tenant)
		}
		_, inner := o.tracer.Start(ctx, "book")
		inner.End()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	send := o.span(t, "send orders")
	receive, process := o.span(t, "receive orders"), o.span(t, "process orders")
	common := []attribute.KeyValue{
		attribute.String("messaging.system", "ropewalk"),
		attribute.String("messaging.client.id", "till"),
		attribute.String("messaging.destination.name", "orders"),
		attribute.String("messaging.destination.partition.id", "0"),
		attribute.Int64("messaging.ropewalk.offset", 0),
	}
	ofRecord := []attribute.KeyValue{
		attribute.String("messaging.ropewalk.message.key", "k"),
		attribute.Int("messaging.message.body.size", 6),
	}
	of := func(operation string, more ...attribute.KeyValue) []attribute.KeyValue {
		return slices.Concat(more, common, []attribute.KeyValue{
			attribute.String("messaging.operation.name", operation),
			attribute.String("messaging.operation.type", operation),
		})
	}
	expectAttributes(t, "send", send.Attributes,
		of("send", slices.Concat(ofRecord, o.broker)...)...)
	expectAttributes(t, "receive", receive.Attributes,
		of("receive", append(o.broker, attribute.Int("messaging.batch.message_count", 1))...)...)
	expectAttributes(t, "process", process.Attributes, of("process", ofRecord...)...)

	if send.SpanKind != trace.SpanKindProducer || receive.SpanKind != trace.SpanKindClient ||
		process.SpanKind != trace.SpanKindConsumer {
		t.Errorf("the kinds are %v, %v, %v", send.SpanKind, receive.SpanKind, process.SpanKind)
	}
	if send.Parent.SpanID() != parent.SpanContext().SpanID() {
		t.Error("the span that sends is not of the request")
	}
	for _, s := range []tracetest.SpanStub{receive, process} {
		if len(s.Links) != 1 || s.Links[0].SpanContext.SpanID() != send.SpanContext.SpanID() ||
			s.SpanContext.TraceID() == send.SpanContext.TraceID() {
			t.Errorf("%s has links %v, and trace %v", s.Name, s.Links, s.SpanContext.TraceID())
		}
	}
	if inner := o.span(t, "book"); inner.Parent.SpanID() != process.SpanContext.SpanID() {
		t.Error("what is done with the record is not of its span")
	}
}

// A program may have the trace of whoever sent a record go on.
func TestTheTraceGoesOn(t *testing.T) {
	o := observe(t, otelropewalk.WithProducerAsParent())
	sent := order("", "v")
	o.OnSend(bounded(t), sent)(ropewalk.Ack{}, nil)
	if err := o.Process(bounded(t), sent, func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	send, process := o.span(t, "send orders"), o.span(t, "process orders")
	if process.Parent.SpanID() != send.SpanContext.SpanID() || len(process.Links) != 1 {
		t.Errorf("the parent is %v", process.Parent)
	}
}

// A record that is passed on has the context of who sends it last, and one that nobody traced is
// linked to nothing.
func TestHeadersOfARecordThatIsPassedOn(t *testing.T) {
	o := observe(t)
	record := order("", "v")
	record.Headers = []ropewalk.Header{{Key: "other", Value: []byte("stays")}}
	if s := trace.SpanContextFromContext(o.Extract(bounded(t), record)); s.IsValid() {
		t.Errorf("a record without headers is of %v", s)
	}
	for range 2 {
		record.Headers = append(record.Headers, // of whoever had it before
			ropewalk.Header{Key: "tracestate", Value: []byte("old=1")},
			ropewalk.Header{Key: "baggage", Value: []byte("tenant=old")})
		given := slices.Clone(record.Headers)
		had := record.Headers
		o.OnSend(bounded(t), record)(ropewalk.Ack{}, nil)
		if !reflect.DeepEqual(had, given) {
			t.Errorf("the headers that it had are %v now, not %v", had, given)
		}
	}
	spans := o.spans.GetSpans()
	got := trace.SpanContextFromContext(o.Extract(bounded(t), record))
	if got.SpanID() != spans[1].SpanContext.SpanID() {
		t.Errorf("it is of %v", got)
	}
	keys := otelropewalk.Carrier{Record: record}.Keys()
	if !slices.Equal(keys, []string{"other", "traceparent"}) {
		t.Errorf("the headers are %v", keys)
	}
	untraced, err := otelropewalk.New(otelropewalk.WithTracerProvider(noop.NewTracerProvider()))
	if err != nil {
		t.Fatal(err)
	}
	untraced.OnSend(bounded(t), record)(ropewalk.Ack{}, nil)
	if got := trace.SpanContextFromContext(o.Extract(bounded(t), record)); !got.IsValid() {
		t.Error("who has no trace ends that of others")
	}
}

// What fails says why, by the reason of the client.
func TestSpansAndMetricsOfFailures(t *testing.T) {
	o := observe(t)
	o.server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		return &testserver.Fault{Status: testserver.Status(codes.InvalidArgument, "CORRUPT_BATCH")}
	})
	if _, err := o.producer(t).Send(bounded(t), order("", "v")); err == nil {
		t.Fatal("it was taken")
	}
	broken := errors.New("broken")
	err := o.Process(bounded(t), order("", "v"), func(context.Context) error { return broken })
	if err != broken {
		t.Errorf("process returned %v", err)
	}
	for name, want := range map[string]string{
		"send orders": "CORRUPT_BATCH", "process orders": "*errors.errorString",
	} {
		s := o.span(t, name)
		set := attribute.NewSet(s.Attributes...)
		value, _ := set.Value("error.type")
		if value.AsString() != want || s.Status.Code != otelcodes.Error {
			t.Errorf("%s: %v, %v", name, value.AsString(), s.Status)
		}
	}
	sent := o.sum(t, "messaging.client.sent.messages")
	if len(sent) != 1 || sent[0].Value != 1 {
		t.Fatalf("sent: %v", sent)
	}
	expectAttributes(t, "sent", sent[0].Attributes.ToSlice(), append(o.broker,
		attribute.String("messaging.system", "ropewalk"),
		attribute.String("messaging.operation.name", "send"),
		attribute.String("messaging.destination.name", "orders"),
		attribute.String("error.type", "CORRUPT_BATCH"))...)
}

func (o *observed) metric(t *testing.T, name string) metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := o.reader.Collect(bounded(t), &all); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			if m.Name == name {
				return m
			}
			names = append(names, m.Name)
		}
	}
	t.Fatalf("there is no %s in %v", name, names)
	return metricdata.Metrics{}
}

func (o *observed) sum(t *testing.T, name string) []metricdata.DataPoint[int64] {
	t.Helper()
	data, ok := o.metric(t, name).Data.(metricdata.Sum[int64])
	if !ok {
		t.Fatalf("%s is no sum", name)
	}
	return data.DataPoints
}

func (o *observed) histogram(t *testing.T, name string) []metricdata.HistogramDataPoint[float64] {
	t.Helper()
	m := o.metric(t, name)
	data, ok := m.Data.(metricdata.Histogram[float64])
	if !ok || m.Unit != "s" {
		t.Fatalf("%s is no histogram of seconds", name)
	}
	return data.DataPoints
}

// What goes out, comes in and is committed is counted by the names of the conventions.
func TestMetrics(t *testing.T) {
	o := observe(t)
	producer, consumer := o.producer(t), o.consumer(t)
	for range 3 {
		if _, err := producer.Send(bounded(t), order("", "v")); err != nil {
			t.Fatal(err)
		}
		record, err := consumer.Next(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Process(bounded(t), record, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := consumer.Commit(bounded(t), "billing"); err != nil {
		t.Fatal(err)
	}
	for name, operation := range map[string]string{
		"messaging.client.sent.messages": "send", "messaging.client.consumed.messages": "receive",
	} {
		points := o.sum(t, name)
		if len(points) != 1 || points[0].Value != 3 {
			t.Fatalf("%s: %v", name, points)
		}
		expectAttributes(t, name, points[0].Attributes.ToSlice(), append(o.broker,
			attribute.String("messaging.system", "ropewalk"),
			attribute.String("messaging.operation.name", operation),
			attribute.String("messaging.destination.name", "orders"))...)
	}
	counts := map[string]uint64{}
	for _, point := range o.histogram(t, "messaging.client.operation.duration") {
		name, _ := point.Attributes.Value("messaging.operation.name")
		kind, _ := point.Attributes.Value("messaging.operation.type")
		for _, want := range o.broker {
			if got, _ := point.Attributes.Value(want.Key); got != want.Value {
				t.Errorf("the %s of %s is %v", want.Key, name.AsString(), got)
			}
		}
		counts[name.AsString()+"/"+kind.AsString()] = point.Count
	}
	if len(counts) != 2 || counts["send/send"] != 3 || counts["commit/settle"] != 1 {
		t.Errorf("operations: %v", counts)
	}
	took := o.histogram(t, "messaging.process.duration")
	if len(took) != 1 || took[0].Count != 3 {
		t.Errorf("process: %v", took)
	}
	for _, name := range []string{"ropewalk.client.sent.bytes", "ropewalk.client.received.bytes"} {
		if points := o.sum(t, name); len(points) != 1 || points[0].Value < 9 {
			t.Errorf("%s: %v", name, points)
		}
	}
	if points := o.sum(t, "ropewalk.client.connections"); len(points) != 1 || points[0].Value != 1 {
		t.Errorf("connections: %v", points)
	}
	if err := o.client.Close(); err != nil {
		t.Fatal(err)
	}
	// gRPC tells of the end of a connection once its goroutines have ended.
	for ctx := bounded(t); o.sum(t, "ropewalk.client.connections")[0].Value != 0; {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the connections that are closed still count")
		}
	}
}

// What goes wrong by itself, and is mended by itself, can be seen all the same.
func TestMetricsOfRetriesAndStreams(t *testing.T) {
	o := observe(t)
	cut := false
	o.server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		if !cut {
			cut = true
			return &testserver.Fault{Cut: true}
		}
		return nil
	})
	if _, err := o.producer(t).Send(bounded(t), order("", "v")); err != nil {
		t.Fatal(err)
	}
	if points := o.sum(t, "ropewalk.client.batch.retries"); len(points) != 1 || points[0].Value != 1 {
		t.Errorf("retries: %v", points)
	}
	points := o.sum(t, "ropewalk.client.stream.failures")
	if len(points) != 1 || points[0].Value != 1 {
		t.Fatalf("streams: %v", points)
	}
	expectAttributes(t, "a stream", points[0].Attributes.ToSlice(),
		attribute.String("messaging.system", "ropewalk"), attribute.String("ropewalk.stream", "produce"),
		attribute.String("error.type", string(ropewalk.ReasonDisconnected)))
}

// What comes of groups, as a client tells it.
func TestMetricsOfGroups(t *testing.T) {
	o := observe(t)
	change := ropewalk.GroupChange{Group: "billing", Positions: make([]ropewalk.Position, 2)}
	o.OnGroupAssigned(change)
	o.OnGroupRevoked(change)
	o.OnGroupLost(change)
	o.OnGroupLeft(change)
	if points := o.sum(t, "ropewalk.client.group.changes"); len(points) != 4 || points[0].Value != 2 {
		t.Errorf("changes: %v", points)
	}
	tp := ropewalk.TopicPartition{Topic: "orders"}
	o.OnGapFound(ropewalk.GapFound{Gap: ropewalk.Gap{TopicPartition: tp, From: 3, To: 10}})
	if points := o.sum(t, "ropewalk.client.gap.messages"); len(points) != 1 || points[0].Value != 7 {
		t.Errorf("gaps: %v", points)
	}
}

func TestNilProvidersAreRefused(t *testing.T) {
	for _, option := range []otelropewalk.Option{
		otelropewalk.WithTracerProvider(nil), otelropewalk.WithMeterProvider(nil),
		otelropewalk.WithPropagator(nil),
	} {
		if made, err := otelropewalk.New(option); err == nil || made != nil {
			t.Errorf("it was taken: %v, %v", made, err)
		}
	}
}
