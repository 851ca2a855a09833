package ropewalk_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// What compaction takes is no gap: a consumer that begins where a record is gone gets the next one that
// is left, each at its own offset, also over a reconnect.
func TestCompactedTopicIsRead(t *testing.T) {
	broker := ropewalktest.Start(t, ropewalktest.WithFlags("--retention-check-interval=100ms"))
	client := dial(t, broker.Address)
	ctx, topic := testContext(t), newName("compacted")
	const keys, count = 7, 200
	_, err := client.Admin().CreateTopic(ctx, topic, 1,
		ropewalk.Cleanup(ropewalk.CleanupCompact), ropewalk.DeleteRetention(0))
	if err != nil {
		t.Fatal(err)
	}
	producer := newProducer(t, client)
	send := func(from, to int) {
		t.Helper()
		for base := from; base < to; base += 10 {
			var batch []*ropewalk.Record
			for i := base; i < min(base+10, to); i++ {
				batch = append(batch, &ropewalk.Record{Key: fmt.Appendf(nil, "k%d", i%keys), Value: fmt.Append(nil, i)})
			}
			if _, err := producer.Append(ctx, topic, 0, batch); err != nil {
				t.Fatal(err)
			}
		}
	}
	// read gives the offsets from a start on, and fails where a record is not the one that was
	// sent with its offset.
	read := func(start ropewalk.Start) (offsets []int64) {
		t.Helper()
		consumer := newConsumer(t, client, ropewalk.WithPartition(topic, 0, start),
			ropewalk.WithStop(ropewalk.StopCaughtUp()))
		defer consumer.Close()
		for record, err := range consumer.Records(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if string(record.Value) != fmt.Sprint(record.Offset) {
				t.Fatalf("%q is at offset %d", record.Value, record.Offset)
			}
			offsets = append(offsets, record.Offset)
		}
		return offsets
	}
	send(0, count)
	left := []int64{193, 194, 195, 196, 197, 198, 199}
	for !slices.Equal(read(ropewalk.StartEarliest()), left) {
		if ctx.Err() != nil {
			t.Fatal("nothing was compacted")
		}
		time.Sleep(50 * time.Millisecond)
	}
	for start, want := range map[int64][]int64{0: left, 50: left, 196: left[3:], 200: nil} {
		if got := read(ropewalk.StartOffset(start)); !slices.Equal(got, want) {
			t.Errorf("from %d: got %v, want %v", start, got, want)
		}
	}

	// One that goes on over a restart, while what it is to read is compacted: no gap, nothing twice.
	var broken atomic.Int32
	consumer := newConsumer(t, client, ropewalk.WithPartition(topic, 0, ropewalk.StartEarliest()),
		ropewalk.WithGapHandler(func(gap ropewalk.Gap) { t.Errorf("a gap: %v", &gap) }),
		ropewalk.WithReconnectBackoff(func(int) time.Duration { return 10 * time.Millisecond }),
		ropewalk.WithErrorHandler(func(error) { broken.Add(1) }))
	next := int64(-1)
	until := func(last int64) {
		t.Helper()
		for next < last {
			record, err := consumer.Next(ctx)
			var gap *ropewalk.Gap
			if errors.As(err, &gap) {
				t.Fatalf("a gap: %v", gap)
			}
			if err != nil {
				t.Fatal(err)
			}
			if record.Offset <= next || string(record.Value) != fmt.Sprint(record.Offset) {
				t.Fatalf("%q is at offset %d, after %d", record.Value, record.Offset, next)
			}
			next = record.Offset
		}
	}
	until(199)
	broker.Kill()
	broker.Run()
	send(count, 2*count)
	until(2*count - 1)
	if broken.Load() == 0 {
		t.Error("the stream was never broken: this tested nothing")
	}
	if err := consumer.Commit(ctx, "g"); err != nil {
		t.Fatal(err)
	}
	if got := read(ropewalk.StartCommitted("g")); len(got) != 0 {
		t.Errorf("read on from the end: %v", got)
	}
}

// A group goes on behind the last record that it was given, wherever offsets are missing, and has no lag
// then.
func TestGroupReadsCompactedTopic(t *testing.T) {
	broker := ropewalktest.Start(t, ropewalktest.WithFlags("--retention-check-interval=100ms"))
	client := dial(t, broker.Address)
	ctx := testContext(t)
	_, err := client.Admin().CreateTopic(ctx, "t", 1,
		ropewalk.Cleanup(ropewalk.CleanupCompact), ropewalk.DeleteRetention(0))
	if err != nil {
		t.Fatal(err)
	}
	producer := newProducer(t, client)
	send := func(keys ...string) {
		t.Helper()
		var batch []*ropewalk.Record
		for _, key := range keys {
			batch = append(batch, &ropewalk.Record{Key: []byte(key), Value: []byte(key)})
		}
		if _, err := producer.Append(ctx, "t", 0, batch); err != nil {
			t.Fatal(err)
		}
	}
	send("a", "b", "x", "c")
	send("x", "d")
	left := func() (offsets []int64) {
		consumer := newConsumer(t, client, ropewalk.WithPartition("t", 0, ropewalk.StartEarliest()),
			ropewalk.WithStop(ropewalk.StopCaughtUp()))
		defer consumer.Close()
		for record, err := range consumer.Records(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			offsets = append(offsets, record.Offset)
		}
		return offsets
	}
	for !slices.Equal(left(), []int64{0, 1, 3, 4, 5}) {
		if ctx.Err() != nil {
			t.Fatal("nothing was compacted")
		}
		time.Sleep(50 * time.Millisecond)
	}

	read := func(member *ropewalk.GroupConsumer, want ...int64) {
		t.Helper()
		for _, offset := range want {
			record, err := member.Next(ctx)
			if err != nil || record.Offset != offset {
				t.Fatalf("%v, %v; want offset %d", record, err, offset)
			}
			if err := member.Commit(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := member.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// The broker hands out no second batch before the first one is committed to its end.
	one := ropewalk.GroupInFlight(1, 0)
	read(join(t, client, ropewalk.GroupManualCommit(), one), 0, 1, 3)
	read(join(t, client, ropewalk.GroupManualCommit(), one), 4, 5)
	described, err := client.Admin().GetGroup(ctx, "g")
	if err != nil {
		t.Fatal(err)
	}
	if o := described.Offsets[0]; o.Committed != 6 || o.Lag != 0 {
		t.Errorf("%+v", o)
	}
}
