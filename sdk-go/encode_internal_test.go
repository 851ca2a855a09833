package ropewalk

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A spoilingPool makes what is in a buffer unusable once it is given back: in all tests, whoever
// uses one for longer sends nonsense.
type spoilingPool struct{ mem.BufferPool }

func (p spoilingPool) Put(b *[]byte) {
	for i := range *b {
		(*b)[i] = 0xff
	}
	p.BufferPool.Put(b)
}

func init() {
	measuring := func(arg string) bool { return strings.HasPrefix(arg, "-test.bench") }
	if !slices.ContainsFunc(os.Args, measuring) {
		batchBuffers = spoilingPool{batchBuffers}
	}
}

// messageFrom is a record as the generated types have it.
func messageFrom(r *Record) *pb.Record {
	out := &pb.Record{Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, &pb.Header{Key: h.Key, Value: h.Value})
	}
	if !r.Timestamp.IsZero() {
		out.Timestamp = timestamppb.New(r.Timestamp)
	}
	if r.TTL != 0 {
		out.Ttl = durationpb.New(r.TTL)
	}
	return out
}

func pendingOf(records ...*Record) (list []*pending) {
	for _, r := range records {
		list = append(list, &pending{record: r, size: fieldSize(r.encodedSize())})
	}
	return list
}

// encodeBoth encodes records in both ways, and fails a test in which they differ.
func encodeBoth(t *testing.T, records ...*Record) {
	t.Helper()
	set := &pb.RecordSet{}
	for _, r := range records {
		set.Records = append(set.Records, messageFrom(r))
	}
	want, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	list := pendingOf(records...)
	got := encodeRecords(list)
	defer got.Free()
	if !bytes.Equal(got.ReadOnlyData(), want) {
		t.Fatalf("%v:\n%x\nis not\n%x", set, got.ReadOnlyData(), want)
	}
	size := 0
	for _, s := range list {
		size += s.size
	}
	if size != len(want) {
		t.Fatalf("%d bytes were expected, there are %d", size, len(want))
	}
}

// oddTimes are at the ends of what protobuf can have, and where a field is left out.
var oddTimes = []time.Time{
	{}, time.Unix(0, 0), time.Unix(0, 1), time.Unix(1, 0), time.Unix(-1, 999_999_999),
	time.Unix(firstSecond, 1), time.Unix(lastSecond, 999_999_999), time.Unix(1_800_000_000, 5),
}

func randomRecord(random *rand.Rand) *Record {
	random1 := func(longest int) []byte {
		if random.IntN(4) == 0 {
			return nil
		}
		b := make([]byte, pick(random, 0, 1, 127, 128, random.IntN(longest)))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	r := &Record{
		Key: random1(300), Value: random1(40_000), Timestamp: pick(random, oddTimes...),
		TTL: pick(random, 0, 0, time.Millisecond, time.Second, 1<<63-1, 90*time.Minute+1),
	}
	for range pick(random, 0, 0, 1, 5) {
		key := strings.Repeat("k", pick(random, 0, 1, 127, 128))
		r.Headers = append(r.Headers, Header{Key: key, Value: random1(200)})
	}
	return r
}

func TestRecordsAreEncodedAsProtobufDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var records []*Record
		for range random.IntN(5) {
			records = append(records, randomRecord(random))
		}
		encodeBoth(t, records...)
	}
}

func FuzzEncodeRecord(f *testing.F) {
	f.Add([]byte("k"), []byte("v"), "h", []byte("hv"),
		int64(1_800_000_000), int64(5), int64(1e6), byte(0))
	f.Add([]byte{}, []byte{}, "", []byte{}, int64(0), int64(0), int64(0), byte(0xff))
	f.Add([]byte{}, make([]byte, 70_000), "", []byte{}, int64(-1), int64(1), int64(1)<<62, byte(3))
	f.Fuzz(func(t *testing.T, key, value []byte, headerKey string, headerValue []byte,
		seconds, nanos, ttl int64, shape byte,
	) {
		r := &Record{Key: key, Value: value, TTL: time.Duration(ttl)}
		if shape&1 != 0 {
			r.Key = nil
		}
		if shape&2 != 0 {
			r.Value = nil
		}
		if shape&4 != 0 {
			r.Timestamp = time.Unix(seconds%lastSecond, nanos)
		}
		if shape&8 != 0 {
			r.Headers = []Header{
				{Key: headerKey, Value: headerValue}, {Value: headerValue}, {Key: headerKey},
			}
		}
		if r.validate("t") != nil {
			return
		}
		encodeBoth(t, r, r)
	})
}

// What is sent is decoded as the request that it stands for.
func TestRequestsAreWhatTheyStandFor(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	partition := int32(300)
	for range 300 {
		records := []*Record{randomRecord(random), randomRecord(random), {Value: make([]byte, 5_000)}}
		codec := pick(random, compressions...)
		c, err := newCompressor(codec, 0)
		if err != nil {
			t.Fatal(err)
		}
		encoded := c.encode(pendingOf(records...))
		request := &pb.ProduceRequest{
			Topic: "t", Partition: &partition, Durability: pb.Durability_DURABILITY_QUORUM,
			Sequence: &pb.ProducerSequence{ProducerId: random.Uint64(), FirstSequence: random.Uint32()},
		}
		want := proto.CloneOf(request)
		set := &pb.RecordSet{}
		for _, r := range records {
			set.Records = append(set.Records, messageFrom(r))
		}
		want.Data = &pb.ProduceRequest_Records{Records: set}
		if codec != CompressionNone {
			want.Data = &pb.ProduceRequest_Compressed{Compressed: encoded.data.ReadOnlyData()}
			want.Compression, want.RecordCount = pb.Compression(codec), 3
			if shortest := shortestTTL(pendingOf(records...)); shortest > 0 {
				want.ShortestTtl = durationpb.New(shortest)
			}
			plain, err := unpack(codec, encoded.data.ReadOnlyData(), maxDecompressedBytes)
			if err != nil {
				t.Fatal(err)
			}
			unpacked := &pb.RecordSet{}
			if err := proto.Unmarshal(plain, unpacked); err != nil || !proto.Equal(unpacked, set) {
				t.Fatalf("%s: the records are others after it: %v", codec, err)
			}
		}
		correlation := random.Uint64() >> random.IntN(64)
		got := &pb.ProduceStreamRequest{}
		decodeAs(t, request, encoded, correlation+1, got)
		if !proto.Equal(got, &pb.ProduceStreamRequest{Correlation: correlation + 1, Request: want}) {
			t.Fatalf("%s: in a stream it is %v", codec, got)
		}
		alone := &pb.ProduceRequest{}
		decodeAs(t, request, encoded, 0, alone)
		if !proto.Equal(alone, want) {
			t.Fatalf("%s: alone it is %v", codec, alone)
		}
		encoded.free()
	}
}

func decodeAs(
	t *testing.T, request *pb.ProduceRequest, e *encodedBatch, correlation uint64, to proto.Message,
) {
	t.Helper()
	message, err := messageOf(request, e, correlation)
	if err != nil {
		t.Fatal(err)
	}
	if err := decodeMessage(message, to); err != nil {
		t.Fatal(err)
	}
}

// What does not get smaller goes as it is.
func TestWhatDoesNotGetSmallerIsNotCompressed(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	value := make([]byte, 3_000)
	for i := range value {
		value[i] = byte(random.Uint32())
	}
	for _, codec := range framed {
		c, err := newCompressor(codec, 0)
		if err != nil {
			t.Fatal(err)
		}
		list := pendingOf(&Record{Value: value})
		encoded := c.encode(list)
		plain := encodeRecords(list)
		if encoded.compression != CompressionNone ||
			!bytes.Equal(encoded.data.ReadOnlyData(), plain.ReadOnlyData()) {
			t.Errorf("%s: it was compressed", codec)
		}
		plain.Free()
		encoded.free()
	}
}

// A buffer is given to one at a time, and is at most twice what was asked for.
func TestBuffers(t *testing.T) {
	for _, length := range []int{0, 1, 1023, 1024, 1025, 250_000, 4 << 20, 4<<20 + 1} {
		b := batchBuffers.Get(length)
		if len(*b) != length || cap(*b) > max(2*length, 1024) {
			t.Errorf("a buffer of %d bytes has %d, and room for %d", length, len(*b), cap(*b))
		}
		other := batchBuffers.Get(length)
		if length > 0 && &(*b)[0] == &(*other)[0] {
			t.Errorf("the buffer of %d bytes is there twice", length)
		}
		batchBuffers.Put(b)
		batchBuffers.Put(other)
	}
}
