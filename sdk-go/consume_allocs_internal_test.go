package ropewalk

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// allocatedAtMost is what a record may cost: the goal is one, and this is far below it.
const allocatedAtMost = 0.1

// recordsPerBatch of 1 KB are a batch as producers make them.
const recordsPerBatch = 250

// manyRecords is a batch of records of 1 KB.
func manyRecords(change func(i int, r *pb.Record)) *pb.RecordBatch {
	set := &pb.RecordSet{}
	for i := range recordsPerBatch {
		r := &pb.Record{Key: fmt.Appendf(nil, "key-%d", i), Value: make([]byte, 1000)}
		for n := range r.Value {
			r.Value[n] = byte(i * n)
		}
		change(i, r)
		set.Records = append(set.Records, r)
	}
	return &pb.RecordBatch{
		Topic: "t", BaseOffset: 0, RecordCount: recordsPerBatch, AppendTime: timestamppb.Now(),
		Data: &pb.RecordBatch_Records{Records: set},
	}
}

func withHeaders(key func(i int) string) func(int, *pb.Record) {
	return func(i int, r *pb.Record) {
		r.Timestamp = timestamppb.Now()
		r.Headers = []*pb.Header{
			{Key: "content-type", Value: []byte("application/json")},
			{Key: key(i), Value: []byte("1")},
		}
	}
}

// compressed is a batch, compressed.
func compressed(t testing.TB, codec Compression, b *pb.RecordBatch) *pb.RecordBatch {
	t.Helper()
	c, err := newCompressor(codec, 0)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := c.pack(nil, marshal(t, b.GetRecords()))
	if err != nil {
		t.Fatal(err)
	}
	b.Compression = pb.Compression(codec)
	b.Data = &pb.RecordBatch_Compressed{Compressed: packed}
	return b
}

// allocationCases are batches as they come.
func allocationCases(t testing.TB) map[string]*pb.RecordBatch {
	plain := func(int, *pb.Record) {}
	cases := map[string]*pb.RecordBatch{
		"plain":   manyRecords(plain),
		"headers": manyRecords(withHeaders(func(int) string { return "trace" })),
		"headers of different keys": manyRecords(withHeaders(func(i int) string {
			return fmt.Sprintf("header-%d", i)
		})),
	}
	for _, codec := range framed {
		cases[codec.String()] = compressed(t, codec, manyRecords(plain))
	}
	return cases
}

// A fakeStream brings the same event over and over, as gRPC would.
type fakeStream struct {
	grpc.ClientStream
	frames mem.BufferSlice
}

func (s *fakeStream) RecvMsg(v any) error { return asCodec().Unmarshal(s.frames, v) }

func (s *fakeStream) Recv() (*pb.SubscribeResponse, error) {
	panic("events are not decoded by the generated code")
}

// gate checks what receiving a batch and handing out its records allocates, all that gRPC does
// aside.
func gate(t *testing.T, what string, one func()) {
	t.Helper()
	one() // what is kept from batch to batch
	perRecord := testing.AllocsPerRun(20, one) / recordsPerBatch
	t.Logf("%s: %.3f allocations a record", what, perRecord)
	if perRecord > allocatedAtMost {
		t.Errorf("%s: %.3f allocations a record, more than %v", what, perRecord, allocatedAtMost)
	}
}

// consumerOf is a consumer whose stream brings one batch over and over, and what receives from it.
func consumerOf(t testing.TB, b *pb.RecordBatch) (k *Consumer, receive func()) {
	client := &Client{config: defaultClientConfig(), log: slog.New(slog.DiscardHandler)}
	client.topics.init(client)
	k = &Consumer{
		client: client, config: defaultConsumerConfig(), ctx: t.Context(),
		fetches: make(chan fetch, 1), reading: make(chan struct{}, 1),
		states: map[TopicPartition]*partitionState{},
	}
	state := &partitionState{tp: TopicPartition{"t", 0}}
	k.states[state.tp] = state
	r := &reader{consumer: k}
	s := &subscription{rpc: &fakeStream{frames: framesOf(marshal(t, batchEvent(b)))}}
	s.ctx, s.cancel = context.WithCancelCause(t.Context())
	return k, func() {
		state.next = 0
		event, err := s.receive(k)
		if err == nil {
			err = r.handle(event)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestConsumerAllocatesLittle(t *testing.T) {
	for name, b := range allocationCases(t) {
		k, receive := consumerOf(t, b)
		gate(t, "Next, "+name, func() {
			receive()
			for range recordsPerBatch {
				if _, err := k.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
		gate(t, "Poll, "+name, func() {
			receive()
			if records, err := k.Poll(t.Context()); err != nil || len(records) != recordsPerBatch {
				t.Fatal(len(records), err)
			}
		})
	}
}

// memberOf is a member whose stream brings one batch over and over, and what receives from it.
func memberOf(t testing.TB, b *pb.RecordBatch) (g *GroupConsumer, receive func()) {
	g = &GroupConsumer{
		client: &Client{config: defaultClientConfig(), log: slog.New(slog.DiscardHandler)},
		config: defaultGroupConfig(), ctx: t.Context(),
		reading: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		stream: &groupStream{events: make(chan *streamEvent)}, lookAt: time.Now().Add(time.Hour),
	}
	g.config.autoCommit = 0
	g.has.begin("m", 1)
	rpc := &fakeStream{frames: framesOf(marshal(t, batchEvent(b)))}
	return g, func() {
		g.has.held[TopicPartition{"t", 0}] = newHeld(0)
		event, err := receiveEvent(rpc)
		if err == nil {
			err = g.handle(t.Context(), event)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestGroupConsumerAllocatesLittle(t *testing.T) {
	for name, b := range allocationCases(t) {
		g, receive := memberOf(t, b)
		gate(t, "Next, "+name, func() {
			receive()
			for range recordsPerBatch {
				if _, err := g.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode1KB(b *testing.B) {
	for name, batch := range allocationCases(b) {
		b.Run(name, func(b *testing.B) {
			k, receive := consumerOf(b, batch)
			b.SetBytes(recordsPerBatch * 1000)
			b.ReportAllocs()
			for b.Loop() {
				receive()
				if _, err := k.Poll(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
