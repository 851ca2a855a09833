package ropewalk

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// emptyRecords is a batch of so many records with nothing in them, of two bytes each, compressed to
// a few hundred in all.
func emptyRecords(t *testing.T, count int) *pb.RecordBatch {
	t.Helper()
	packed := pack(t, CompressionZstd, 0, bytes.Repeat([]byte{byte(setRecord), 0}, count))
	if len(packed) > 4<<10 {
		t.Fatalf("it has %d bytes", len(packed))
	}
	return &pb.RecordBatch{
		Topic: "t", RecordCount: int32(count), Compression: pb.Compression(CompressionZstd),
		Data: &pb.RecordBatch_Compressed{Compressed: packed},
	}
}

// Whatever a batch claims, what waits is as it came, and what is decoded at once is bounded.
func TestManyRecordsAreDecodedInPieces(t *testing.T) {
	const count, most = 1 << 20, 32 << 20 // 150 MiB of records
	b := emptyRecords(t, count)
	k, receive := consumerOf(t, b)
	g, receiveInGroup := memberOf(t, b)
	for what, reading := range map[string]struct {
		receive func()
		poll    func() ([]Record, error)
	}{
		"consumer": {receive, func() ([]Record, error) { return k.Poll(t.Context()) }},
		"member":   {receiveInGroup, func() ([]Record, error) { return g.Poll(t.Context()) }},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		reading.receive()
		records, err := reading.poll()
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > most {
			t.Errorf("%s: %d bytes for the first records", what, used)
		}
		for next := int64(0); ; {
			if err != nil || len(records) == 0 || len(records) > recordsAtOnce {
				t.Fatalf("%s: %d records at offset %d, %v", what, len(records), next, err)
			}
			for i := range records {
				if records[i].Offset != next {
					t.Fatalf("%s: offset %d and not %d", what, records[i].Offset, next)
				}
				next++
			}
			if next == count {
				break
			}
			records, err = reading.poll()
		}
	}
	if k.current.opened.batch != nil || g.opened.batch != nil {
		t.Error("the batch is held when all of it was handed out")
	}
}

// Headers count, too.
func TestManyHeadersAreDecodedInPieces(t *testing.T) {
	const perRecord = 1000
	header := []byte{byte(recordHeaders), 0}
	record := bytes.Repeat(header, perRecord)
	set := []byte{}
	for range 100 {
		set = append(set, byte(setRecord), byte(2*perRecord&0x7f|0x80), byte(2*perRecord>>7))
		set = append(set, record...)
	}
	b := &receivedBatch{topic: "t", count: 100, data: set}
	opened, damage := b.open(0, 100, 0)
	if damage != nil {
		t.Fatal(damage)
	}
	for n := 0; n < 100; {
		records, damage := opened.piece()
		if damage != nil || len(records) == 0 || len(records) > headersAtOnce/perRecord+1 {
			t.Fatalf("%d records, %v", len(records), damage)
		}
		for _, r := range records {
			if r.Offset != int64(n) || len(r.Headers) != perRecord {
				t.Fatalf("offset %d has %d headers", r.Offset, len(r.Headers))
			}
			n++
		}
	}
	var r Record
	if (&recordSlabs{left: 1}).parse(&r, bytes.Repeat(header, maxHeaders+1), false) {
		t.Error("more headers than a record can have were taken")
	}
}

// A batch is opened in its place: what came before it is handed out, and then the consumer ends.
func TestDamageEndsTheConsumerInItsPlace(t *testing.T) {
	k, receive := consumerOf(t, everything())
	ended := false
	k.cancel = func() { ended = true }
	k.states[TopicPartition{"orders", 3}] = &partitionState{}
	k.fetches = make(chan fetch, 2)
	receive()
	broken := everything()
	broken.BaseOffset, broken.RecordCount = 17, 5
	b := &receivedBatch{}
	if err := b.parse(marshal(t, broken)); err != nil {
		t.Fatal(err)
	}
	if err := (&reader{consumer: k}).batch(b); err != nil {
		t.Fatal(err)
	}
	if records, err := k.Poll(t.Context()); err != nil || len(records) != 6 {
		t.Fatal(records, err)
	}
	for range 2 {
		if _, err := k.Poll(t.Context()); !errors.Is(err, ReasonCorruptBatch) || !ended {
			t.Errorf("%v, ended: %v", err, ended)
		}
	}
}

// What was read ahead behind a gap that a handler is told of waits for no other event.
func TestMemberGoesOnBehindAGap(t *testing.T) {
	b := manyRecords(func(int, *pb.Record) {})
	b.BaseOffset = 7
	g, receive := memberOf(t, b)
	told := 0
	g.config.onGap = func(Gap) { told++ }
	receive()
	g.ahead = append([]groupEvent{{
		tp: TopicPartition{"t", 0}, gap: &Gap{TopicPartition: TopicPartition{"t", 0}, To: 7},
	}}, g.ahead...)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if records, err := g.Poll(ctx); err != nil || len(records) != recordsPerBatch || told != 1 {
		t.Errorf("%d records, %v, told of %d gaps", len(records), err, told)
	}
}
