package ropewalk

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// The decoder is held against the generated messages: both give the same records, or both an error.
// Where it refuses what protobuf takes, that is named here.

func bytesOr(b []byte, text *string) []byte {
	if b == nil && text != nil {
		return append([]byte{}, *text...)
	}
	return b
}

// recordFrom is a record as the generated message has it.
func recordFrom(in *pb.Record, b *pb.RecordBatch) Record {
	out := Record{
		Topic: b.GetTopic(), Partition: b.GetPartition(), LeaderEpoch: b.GetLeaderEpoch(),
		Timestamp: b.GetAppendTime().AsTime(), TimestampType: TimestampCreate,
		Key: bytesOr(in.Key, in.KeyText), Value: bytesOr(in.Value, in.Text),
	}
	switch {
	case b.GetTimestampType() == pb.TimestampType_TIMESTAMP_TYPE_APPEND:
		out.TimestampType = TimestampAppend
	case in.Timestamp != nil:
		out.Timestamp = in.Timestamp.AsTime()
	}
	if in.Ttl != nil {
		out.TTL = in.Ttl.AsDuration()
	}
	for _, h := range in.Headers {
		out.Headers = append(out.Headers, Header{h.Key, bytesOr(h.Value, h.Text)})
	}
	return out
}

// recordsFrom are the records of a batch by way of the generated messages.
func recordsFrom(b *pb.RecordBatch) ([]Record, error) {
	set := b.GetRecords()
	if packed, ok := b.GetData().(*pb.RecordBatch_Compressed); ok {
		codec := Compression(b.GetCompression())
		plain, err := unpack(codec, packed.Compressed, maxDecompressedBytes)
		if err != nil {
			return nil, err
		}
		set = &pb.RecordSet{}
		if err := proto.Unmarshal(plain, set); err != nil {
			return nil, err
		}
	}
	count := len(set.GetRecords())
	if int(b.GetRecordCount()) != count || len(b.Offsets) != 0 && len(b.Offsets) != count {
		return nil, errors.New("it does not hold what it announces")
	}
	// Stricter: what no partition has.
	if b.GetBaseOffset() < 0 || b.GetBaseOffset() > math.MaxInt64-int64(count) {
		return nil, errors.New("no offsets")
	}
	last := int64(-1)
	for _, offset := range b.Offsets {
		if offset <= last || offset == math.MaxInt64 {
			return nil, errors.New("offsets in disorder")
		}
		last = offset
	}
	var records []Record
	for i, in := range set.GetRecords() {
		record := recordFrom(in, b)
		if record.Offset = b.BaseOffset + int64(i); len(b.Offsets) > 0 {
			record.Offset = b.Offsets[i]
		}
		records = append(records, record)
	}
	return records, nil
}

// timesOf is how often a field is in a message whose fields can be parsed.
func timesOf(encoded []byte, among ...protowire.Number) (times int) {
	for len(encoded) > 0 {
		num, kind, n := protowire.ConsumeField(encoded)
		if n < 0 {
			return times
		}
		for _, wanted := range among {
			if num == wanted && kind == protowire.BytesType {
				times++
			}
		}
		encoded = encoded[n:]
	}
	return times
}

// agree compares the two ways to the records of a batch.
func agree(t *testing.T, encoded []byte, b *receivedBatch, damage *Error) {
	t.Helper()
	var records []Record
	if damage == nil {
		records, damage = b.openAll(math.MinInt64)
	}
	if damage != nil && !errors.Is(damage, ReasonCorruptBatch) {
		t.Errorf("the error is %v", damage)
	}
	generated := &pb.RecordBatch{}
	err := proto.Unmarshal(encoded, generated)
	if err == nil && timesOf(encoded, 9, 10) > 1 {
		err = errors.New("records in several pieces") // stricter
	}
	var want []Record
	if err == nil {
		want, err = recordsFrom(generated)
	}
	if (damage == nil) != (err == nil) {
		t.Fatalf("decoded: %v; generated: %v", damage, err)
	}
	if damage == nil && !reflect.DeepEqual(records, want) {
		t.Fatalf("decoded:   %#v\ngenerated: %#v", records, want)
	}
}

// seedBatches are batches that are whole, in several forms.
func seedBatches(f *testing.F) (seeds []*pb.RecordBatch) {
	f.Helper()
	compacted := everything()
	compacted.Offsets = []int64{11, 14, 19, 500, 501, 1 << 40}
	byAppend := everything()
	byAppend.TimestampType = pb.TimestampType_TIMESTAMP_TYPE_APPEND
	seeds = append(seeds, everything(), compacted, byAppend, &pb.RecordBatch{Topic: "none"})
	for _, codec := range framed {
		seeds = append(seeds, compressed(f, codec, everything()))
	}
	return seeds
}

func FuzzBatch(f *testing.F) {
	for _, b := range seedBatches(f) {
		encoded := marshal(f, b)
		f.Add(encoded)
		f.Add(encoded[:len(encoded)-2])
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		b := &receivedBatch{}
		damage := b.parse(encoded)
		agree(t, encoded, b, damage)
	})
}

func FuzzEvent(f *testing.F) {
	for _, b := range seedBatches(f) {
		f.Add(marshal(f, batchEvent(b)))
	}
	gap := &pb.SubscribeResponse_Gap{Gap: &pb.Gap{Topic: "t"}}
	f.Add(marshal(f, &pb.SubscribeResponse{Event: gap}))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		event, generated := &streamEvent{}, &pb.SubscribeResponse{}
		got := asCodec().Unmarshal(framesOf(encoded), event)
		want := proto.Unmarshal(encoded, generated)
		if timesOf(encoded, 2) > 0 && timesOf(encoded, 1, 2, 3, 4, 5, 6, 7) > 1 {
			if got == nil {
				t.Error("a batch and another event were taken") // stricter
			}
			return
		}
		if event.batch != nil {
			// What is in the batch is held against its own message.
			for rest := encoded; len(rest) > 0; {
				num, kind, n := protowire.ConsumeField(rest)
				if num == 2 && kind == protowire.BytesType {
					_, _, tag := protowire.ConsumeTag(rest)
					batch, _ := protowire.ConsumeBytes(rest[tag:])
					agree(t, batch, event.batch, event.damage)
				}
				rest = rest[n:]
			}
			return
		}
		if (got == nil) != (want == nil) {
			t.Fatalf("decoded: %v; generated: %v", got, want)
		}
		if got == nil && !proto.Equal(event.other, generated) {
			t.Fatalf("decoded: %v; generated: %v", event.other, generated)
		}
	})
}

// FuzzRecord is about keys, values, times and headers.
func FuzzRecord(f *testing.F) {
	for _, r := range everything().GetRecords().GetRecords() {
		f.Add(marshal(f, r))
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		// The same record twice: the second has the headers of the first before it.
		slabs, about := &recordSlabs{left: 2}, &pb.RecordBatch{}
		var records [2]Record
		var taken [2]bool
		for i := range records {
			records[i].Timestamp = about.GetAppendTime().AsTime()
			records[i].TimestampType = TimestampCreate
			taken[i] = slabs.parse(&records[i], encoded, false)
		}
		generated := &pb.Record{}
		err := proto.Unmarshal(encoded, generated)
		for i := range records {
			if taken[i] != (err == nil) {
				t.Fatalf("decoded: %v; generated: %v", taken[i], err)
			}
			want := recordFrom(generated, about)
			if err == nil && !reflect.DeepEqual(records[i], want) {
				t.Fatalf("decoded:   %#v\ngenerated: %#v", records[i], want)
			}
		}
	})
}

// FuzzDecompression is about its bound. A limit that is low is found soon.
func FuzzDecompression(f *testing.F) {
	const limit = 4 << 10
	for _, codec := range framed {
		for _, size := range []int{0, 100, limit, limit + 1, 100 * limit} {
			c, err := newCompressor(codec, 0)
			if err != nil {
				f.Fatal(err)
			}
			packed, err := c.pack(nil, make([]byte, size))
			if err != nil {
				f.Fatal(fmt.Errorf("%s: %w", codec, err))
			}
			f.Add(int32(codec), packed)
		}
	}
	f.Fuzz(func(t *testing.T, codec int32, packed []byte) {
		plain, err := unpack(Compression(codec), packed, limit)
		if err == nil && len(plain) > limit {
			t.Errorf("%s gave %d bytes", Compression(codec), len(plain))
		}
	})
}
