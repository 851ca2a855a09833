package ropewalk

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	encoded, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// framesOf cuts a message as HTTP/2 does.
func framesOf(encoded []byte) mem.BufferSlice {
	var frames mem.BufferSlice
	for len(encoded) > 0 {
		n := min(16<<10, len(encoded))
		frames = append(frames, mem.SliceBuffer(encoded[:n]))
		encoded = encoded[n:]
	}
	return frames
}

func batchEvent(b *pb.RecordBatch) *pb.SubscribeResponse {
	return &pb.SubscribeResponse{Event: &pb.SubscribeResponse_Batch{Batch: b}}
}

// receivedAs is a batch as a stream brings it, with its records from an offset on.
func receivedAs(t testing.TB, b *pb.RecordBatch, from int64) (*receivedBatch, []Record) {
	t.Helper()
	event := &streamEvent{}
	if err := asCodec().Unmarshal(framesOf(marshal(t, batchEvent(b))), event); err != nil {
		t.Fatal(err)
	}
	if event.damage != nil {
		t.Fatal(event.damage)
	}
	records, damage := event.batch.openAll(from)
	if damage != nil {
		t.Fatal(damage)
	}
	return event.batch, records
}

// openAll returns all records of a batch from an offset on.
func (b *receivedBatch) openAll(from int64) (records []Record, _ *Error) {
	opened, damage := b.open(from, math.MaxInt64, 0)
	for damage == nil && opened.more() {
		var piece []Record
		piece, damage = opened.piece()
		records = append(records, piece...)
	}
	if damage != nil {
		return nil, damage
	}
	return records, nil
}

func asCodec() eventCodec { return eventCodec{protoCodec} }

// everything is a batch with whatever a record may have or not have.
func everything() *pb.RecordBatch {
	text := func(s string) *string { return &s }
	return &pb.RecordBatch{
		Topic: "orders", Partition: 3, BaseOffset: 11, RecordCount: 6, LeaderEpoch: 7,
		AppendTime: &timestamppb.Timestamp{Seconds: 1_700_000_000, Nanos: 5},
		Data: &pb.RecordBatch_Records{Records: &pb.RecordSet{Records: []*pb.Record{
			{Key: []byte("k"), Value: []byte("v")},
			{},
			{Key: []byte{}, Value: []byte{}},
			{Key: []byte("gone"), Timestamp: &timestamppb.Timestamp{Seconds: -1, Nanos: 999}},
			{
				Value: []byte("long-lived"), Ttl: durationpb.New(time.Hour),
				Headers: []*pb.Header{
					{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "", Value: []byte{}},
					{Key: "é", Value: []byte("2")},
				},
			},
			{KeyText: text("as"), Text: text("text"), Headers: []*pb.Header{
				{Key: "a", Text: text("t")}, {Key: "b"},
			}},
		}}},
	}
}

// What is absent is nil, what is empty is not, and what is a text is the bytes of that.
func TestBatchIsDecoded(t *testing.T) {
	_, got := receivedAs(t, everything(), 0)
	appended := time.Unix(1_700_000_000, 5).UTC()
	record := func(offset int64, key, value []byte) Record {
		return Record{
			Topic: "orders", Partition: 3, Offset: offset, Key: key, Value: value,
			Timestamp: appended, TimestampType: TimestampCreate, LeaderEpoch: 7,
		}
	}
	want := []Record{
		record(11, []byte("k"), []byte("v")),
		record(12, nil, nil),
		record(13, []byte{}, []byte{}),
		record(14, []byte("gone"), nil),
		record(15, nil, []byte("long-lived")),
		record(16, []byte("as"), []byte("text")),
	}
	want[3].Timestamp = time.Unix(-1, 999).UTC()
	want[4].TTL = time.Hour
	want[4].Headers = []Header{
		{"a", []byte("1")}, {"a", nil}, {"", []byte{}}, {"é", []byte("2")},
	}
	want[5].Headers = []Header{{"a", []byte("t")}, {"b", nil}}
	if len(got) != len(want) {
		t.Fatalf("got %d records", len(got))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("got  %#v\nwant %#v", got[i], want[i])
		}
	}

	byAppend := everything()
	byAppend.TimestampType = pb.TimestampType_TIMESTAMP_TYPE_APPEND
	if _, got := receivedAs(t, byAppend, 14); len(got) != 3 || !got[0].Timestamp.Equal(appended) ||
		got[0].TimestampType != TimestampAppend {
		t.Errorf("got %d records, the first of %v (%v)", len(got), got[0].Timestamp, got[0].TimestampType)
	}
}

// The records of a batch lie beside one another: what is appended to one must not run into the
// next.
func TestRecordsOfABatchDoNotOverlap(t *testing.T) {
	_, records := receivedAs(t, everything(), 0)
	before := make([]Record, len(records))
	for i, r := range records {
		before[i] = r
		before[i].Key, before[i].Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
		before[i].Headers = append([]Header(nil), r.Headers...)
	}
	for _, r := range records {
		_ = append(r.Key, "more than there was"...)
		_ = append(r.Value, "more than there was"...)
		_ = append(r.Headers, Header{Key: "another"})
	}
	if !reflect.DeepEqual(records, before) {
		t.Errorf("got %v, want %v", records, before)
	}
}

// What is damaged ends in CORRUPT_BATCH.
func TestDamagedBatchesAreRefused(t *testing.T) {
	set := func(change func(b *pb.RecordBatch)) []byte {
		b := everything()
		change(b)
		return marshal(t, b)
	}
	whole := marshal(t, everything())
	records := marshal(t, everything().GetRecords())
	packed := func(codec Compression, data []byte, count int32) []byte {
		return set(func(b *pb.RecordBatch) {
			b.Compression, b.RecordCount = pb.Compression(codec), count
			b.Data = &pb.RecordBatch_Compressed{Compressed: data}
		})
	}
	for name, encoded := range map[string][]byte{
		"cut":                   whole[:len(whole)-1],
		"a wrong tag":           append(whole[:len(whole):len(whole)], 0x07),
		"field 0":               append(whole[:len(whole):len(whole)], 0x02, 0),
		"records in two pieces": append(whole[:len(whole):len(whole)], 0x4a, 0),
		"the topic is no text":  append(whole[:len(whole):len(whole)], 0x0a, 1, 0xff),
		"the time is none":      append(whole[:len(whole):len(whole)], 0x32, 1, 0x08),
		"offsets are cut":       append(whole[:len(whole):len(whole)], 0x5a, 1, 0x80),
		"too many announced":    set(func(b *pb.RecordBatch) { b.RecordCount++ }),
		"none announced":        set(func(b *pb.RecordBatch) { b.RecordCount = 0 }),
		"less than none":        set(func(b *pb.RecordBatch) { b.RecordCount = -1 }),
		"below offset 0":        set(func(b *pb.RecordBatch) { b.BaseOffset = -1 }),
		"beyond all offsets":    set(func(b *pb.RecordBatch) { b.BaseOffset = 1<<63 - 2 }),
		"too few offsets":       set(func(b *pb.RecordBatch) { b.Offsets = []int64{1, 2} }),
		"offsets in disorder": set(func(b *pb.RecordBatch) {
			b.Offsets = []int64{11, 12, 13, 13, 14, 15}
		}),
		"an unknown codec": packed(9, records, 6),
		"not compressed":   packed(CompressionZstd, records, 6),
		"no records in it": packed(CompressionGzip,
			pack(t, CompressionGzip, 0, records[1:]), 6),
	} {
		var b receivedBatch
		err := b.parse(encoded)
		if err == nil {
			_, err = b.openAll(0)
		}
		if err == nil || err.Reason != ReasonCorruptBatch ||
			!strings.Contains(err.Message, "damaged") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Every record of it is parsed, and nothing else is looked at.
	for i, damaged := range [][]byte{
		{0x0a, 2, 'x'},              // the key is cut
		{0x22, 1, 0xff},             // a text that is none
		{0x2a, 3, 0x0a, 1, 0xff},    // the key of a header likewise
		{0x2a, 2, 0x12, 9},          // its value is cut
		{0x32, 1, 0x08},             // the timestamp is
		{0x3a, 2, 0x08, 0x80},       // the time to live is
		{0x2a, 2, 0x12, 0, 0x2a, 1}, // the second header is
	} {
		var r Record
		if (&recordSlabs{left: 1}).parse(&r, damaged, false) {
			t.Errorf("record %d is %+v", i, r)
		}
	}
}

// What is not known is passed over, as protobuf does it, and so is what is encoded in another way.
func TestUnknownFieldsArePassedOver(t *testing.T) {
	unknown := []byte{
		0x78, 1, // field 15
		0x79, 1, 2, 3, 4, 5, 6, 7, 8, // fixed64
		0x7d, 1, 2, 3, 4, // fixed32
		0x7b, 0x08, 1, 0x7c, // a group
		0x1a, 1, 'x', // fields 3 and 9, as they never are
		0x48, 1,
	}
	var b receivedBatch
	if err := b.parse(append(unknown, marshal(t, everything())...)); err != nil {
		t.Fatal(err)
	}
	if records, err := b.openAll(0); err != nil || len(records) != 6 {
		t.Errorf("%d records, %v", len(records), err)
	}
	event := &streamEvent{}
	if err := event.parse(append(unknown, marshal(t, batchEvent(everything()))...)); err == nil {
		t.Error("field 3 is an event, and there is a batch")
	}
}

// Everything else is decoded as ever, and of several events none is taken for all.
func TestOtherEventsAreDecoded(t *testing.T) {
	gap := &pb.SubscribeResponse{Event: &pb.SubscribeResponse_Gap{
		Gap: &pb.Gap{Topic: "t", Partition: 1, FromOffset: 2, ToOffset: 3},
	}}
	event := &streamEvent{}
	if err := asCodec().Unmarshal(framesOf(marshal(t, gap)), event); err != nil {
		t.Fatal(err)
	}
	if event.batch != nil || !proto.Equal(event.other, gap) {
		t.Errorf("got %+v", event)
	}
	both := append(marshal(t, batchEvent(everything())), marshal(t, gap)...)
	if err := asCodec().Unmarshal(framesOf(both), &streamEvent{}); err == nil {
		t.Error("two events were taken")
	}
	if err := asCodec().Unmarshal(framesOf([]byte{0x22, 9}), &streamEvent{}); err == nil {
		t.Error("half an event was taken")
	}
	answer := &pb.SubscribeResponse{}
	err := asCodec().Unmarshal(framesOf(marshal(t, gap)), answer)
	if err != nil || !proto.Equal(answer, gap) {
		t.Errorf("another message is %v, %v", answer, err)
	}
}
