package otelropewalk_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	otelropewalk "github.com/ropewalk/ropewalk/sdk-go/otel"
)

func nothing(context.Context) error { return nil }

// A call that hands out many records is one span, and so is what works on all of them: each is
// linked to those who sent them.
func TestSpansOfABatch(t *testing.T) {
	o := observe(t)
	records := []*ropewalk.Record{{Value: []byte("a")}, {Value: []byte("b")}, {Value: []byte("c")}}
	if _, err := o.producer(t).Append(bounded(t), "orders", 0, records); err != nil {
		t.Fatal(err)
	}
	consumer := o.consumer(t, ropewalk.WithDeliveryInterceptor(o))
	read, err := consumer.Poll(bounded(t))
	if err != nil || len(read) != 3 {
		t.Fatal(read, err)
	}
	ctx, parent := o.tracer.Start(bounded(t), "work")
	err = o.ProcessBatch(ctx, read, func(ctx context.Context) error {
		return consumer.Commit(ctx, "billing")
	})
	if err != nil {
		t.Fatal(err)
	}
	parent.End()
	receive, process := o.span(t, "receive orders"), o.span(t, "process orders")
	for operation, span := range map[string]struct{ found, broker []attribute.KeyValue }{
		"receive": {receive.Attributes, o.broker}, "process": {process.Attributes, nil},
	} {
		expectAttributes(t, operation, span.found, append(span.broker,
			attribute.String("messaging.system", "ropewalk"),
			attribute.String("messaging.client.id", "till"),
			attribute.String("messaging.operation.name", operation),
			attribute.String("messaging.operation.type", operation),
			attribute.String("messaging.destination.name", "orders"),
			attribute.String("messaging.destination.partition.id", "0"),
			attribute.Int("messaging.batch.message_count", 3))...)
	}
	if len(receive.Links) != 3 || len(process.Links) != 3 {
		t.Errorf("%d and %d links", len(receive.Links), len(process.Links))
	}
	if process.Parent.SpanID() != parent.SpanContext().SpanID() {
		t.Error("the work on them is not of the program's span")
	}
	if receive.SpanKind != trace.SpanKindClient || process.SpanKind != trace.SpanKindConsumer ||
		!receive.EndTime.After(receive.StartTime) {
		t.Errorf("%v from %v to %v, %v", receive.SpanKind, receive.StartTime, receive.EndTime,
			process.SpanKind)
	}
	commit := o.span(t, "commit orders")
	expectAttributes(t, "commit", commit.Attributes, append(o.broker,
		attribute.String("messaging.system", "ropewalk"),
		attribute.String("messaging.client.id", "till"),
		attribute.String("messaging.operation.name", "commit"),
		attribute.String("messaging.operation.type", "settle"),
		attribute.String("messaging.consumer.group.name", "billing"),
		attribute.String("messaging.destination.name", "orders"),
		attribute.String("messaging.destination.partition.id", "0"),
		attribute.Int64("messaging.ropewalk.offset", 3))...)
	if commit.Parent.SpanID() != process.SpanContext.SpanID() ||
		commit.SpanKind != trace.SpanKindClient {
		t.Errorf("the commit is a %v of %v", commit.SpanKind, commit.Parent)
	}
	if took := o.histogram(t, "messaging.process.duration"); len(took) != 1 || took[0].Count != 1 {
		t.Errorf("process: %v", took)
	}
}

// The links of a span are bounded, its count is not; a batch of several topics names none.
func TestSpansOfLargeBatches(t *testing.T) {
	o := observe(t)
	records := make([]ropewalk.Record, 200)
	for i := range records {
		records[i].Topic = "orders"
		o.OnSend(bounded(t), &records[i])(ropewalk.Ack{}, nil)
	}
	if err := o.ProcessBatch(bounded(t), records, nothing); err != nil {
		t.Fatal(err)
	}
	span := o.span(t, "process orders")
	set := attribute.NewSet(span.Attributes...)
	if n, _ := set.Value("messaging.batch.message_count"); len(span.Links) != 128 || n.AsInt64() != 200 {
		t.Errorf("%d links of %d", len(span.Links), n.AsInt64())
	}
	records[7].Topic = "others"
	if err := o.ProcessBatch(bounded(t), records, nothing); err != nil {
		t.Fatal(err)
	}
	o.span(t, "process")
	called := false
	err := o.ProcessBatch(bounded(t), nil, func(context.Context) error { called = true; return nil })
	if err != nil || !called {
		t.Error("without records it does nothing")
	}
}

// A member's group is known where it reads, and a consumer without one has none: one Telemetry is for
// all that a client reads.
func TestGroupsAreToldApart(t *testing.T) {
	o := observe(t)
	if _, err := o.producer(t).Send(bounded(t), order("", "v")); err != nil {
		t.Fatal(err)
	}
	read := func(next func(context.Context) (*ropewalk.Record, error), of *otelropewalk.Telemetry) {
		t.Helper()
		record, err := next(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := of.Process(bounded(t), record, nothing); err != nil {
			t.Fatal(err)
		}
	}
	read(o.consumer(t, ropewalk.WithDeliveryInterceptor(o)).Next, o.Telemetry)
	for _, group := range []string{"billing", "shipping"} {
		go func() {
			stream := o.server.Join(bounded(t))
			stream.Send(&pb.Started{MemberId: "m", Generation: 1})
			stream.Send(&pb.Assignment{Generation: 1,
				Assigned: []*pb.PartitionPosition{{Topic: "orders"}}})
			stream.Send(&pb.RecordBatch{
				Topic: "orders", RecordCount: 1, Compression: pb.Compression_COMPRESSION_NONE,
				Data: &pb.RecordBatch_Records{Records: &pb.RecordSet{
					Records: []*pb.Record{{Value: []byte("v")}},
				}},
			})
		}()
		member, err := o.client.JoinGroup(bounded(t), group, ropewalk.GroupTopics("orders"),
			ropewalk.GroupDeliveryInterceptor(o))
		if err != nil {
			t.Fatal(err)
		}
		read(member.Next, o.ForGroup(group))
		if err := member.Close(); err != nil {
			t.Fatal(err)
		}
	}
	groups := map[string]int{}
	note := func(what string, set attribute.Set) {
		group, _ := set.Value("messaging.consumer.group.name")
		groups[what+" "+group.AsString()]++
	}
	for _, s := range o.spans.GetSpans() {
		note(s.Name, attribute.NewSet(s.Attributes...))
	}
	for _, p := range o.sum(t, "messaging.client.consumed.messages") {
		note("consumed", p.Attributes)
	}
	for _, p := range o.histogram(t, "messaging.process.duration") {
		note("processed", p.Attributes)
	}
	for _, what := range []string{"receive orders", "process orders", "consumed", "processed"} {
		for _, group := range []string{"", "billing", "shipping"} {
			if n := groups[what+" "+group]; n != 1 {
				t.Errorf("%s of %q: %d", what, group, n)
			}
		}
	}
	if groups["commit orders billing"] != 1 {
		t.Errorf("the commit of a member that leaves: %v", groups)
	}
}

// What panics has failed, and is measured.
func TestProcessThatPanics(t *testing.T) {
	o := observe(t)
	func() {
		defer func() {
			if recover() != "broken" {
				t.Error("the panic is not the program's")
			}
		}()
		_ = o.Process(bounded(t), order("", "v"), func(context.Context) error { panic("broken") })
	}()
	span := o.span(t, "process orders")
	set := attribute.NewSet(span.Attributes...)
	if value, _ := set.Value("error.type"); value.AsString() != "panic" ||
		span.Status.Code != otelcodes.Error {
		t.Errorf("%v: %v", value.AsString(), span.Status)
	}
	took := o.histogram(t, "messaging.process.duration")
	if len(took) != 1 || took[0].Count != 1 {
		t.Fatalf("process: %v", took)
	}
	if value, _ := took[0].Attributes.Value("error.type"); value.AsString() != "panic" {
		t.Errorf("it is measured as %q", value.AsString())
	}
}

// A key can be as large as a record: a span has its beginning, in whole characters.
func TestLongKeysAreCut(t *testing.T) {
	o := observe(t)
	o.OnSend(bounded(t), order(strings.Repeat("a", 255)+"äöü", "v"))(ropewalk.Ack{}, nil)
	set := attribute.NewSet(o.span(t, "send orders").Attributes...)
	key, _ := set.Value("messaging.ropewalk.message.key")
	if key.AsString() != strings.Repeat("a", 255) {
		t.Errorf("it has %d bytes", len(key.AsString()))
	}
}

// A carrier leaves alone the headers that a record was given, which others may have too.
func TestACarrierLeavesTheHeadersOfOthers(t *testing.T) {
	shared := make([]ropewalk.Header, 0, 8)
	shared = append(shared, ropewalk.Header{Key: "traceparent", Value: []byte("old")},
		ropewalk.Header{Key: "other", Value: []byte("stays")})
	one, another := &ropewalk.Record{Headers: shared}, &ropewalk.Record{Headers: shared}
	otelropewalk.Carrier{Record: one}.Set("traceparent", "one")
	otelropewalk.Carrier{Record: one}.Set("tracestate", "one")
	otelropewalk.Carrier{Record: another}.Set("tracestate", "another")
	got := fmt.Sprintf("%s | %s | %s", one.Headers, another.Headers, shared)
	want := "[{other stays} {traceparent one} {tracestate one}] | " +
		"[{traceparent old} {other stays} {tracestate another}] | [{traceparent old} {other stays}]"
	if got != want {
		t.Errorf("got %s", got)
	}
}
