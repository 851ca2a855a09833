package ropewalk

import (
	"math/bits"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A Header is a name and a value that travel with a record.
type Header struct {
	// Key is the header's name. It may repeat within a record.
	Key string
	// Value is the header's value. nil and empty are different.
	Value []byte
}

// A Record is one entry of a partition's log, to be produced or as it was read.
//
// The records of a batch that was read share memory: as long as one of them, its key or its value is
// held, all of the batch is, which is up to 4 MiB, and 16 MiB of one that was compressed. Whoever keeps
// little of it for long keeps a copy (bytes.Clone).
type Record struct {
	// Topic is the topic's name.
	Topic string
	// Partition is where a consumer read the record. A producer looks at it only with
	// [ManualPartitioner].
	Partition int32
	// Offset is the record's place in its partition. Producers do not look at it.
	Offset int64
	// Key places the record on a partition. nil means that it has none, which is not the same as
	// empty.
	Key []byte
	// Value is the payload. nil means that it has none; with a key that is a tombstone.
	Value []byte
	// Headers travel with the record, in order.
	Headers []Header
	// Timestamp is when the record was made. A record that is produced without one has the time of
	// its append. A record that is read always has a time.
	Timestamp time.Time
	// TTL is how long the record lives, counted from its append by the broker's clock: it is delivered
	// no more after that; in a compacted topic it is a tombstone then. At least a millisecond. 0: as
	// long as the topic's [RecordTTL] says, which otherwise counts too.
	TTL time.Duration
	// LeaderEpoch is the epoch of the leader that appended the record. Producers do not look at it.
	LeaderEpoch int64

	era era
}

// ToCommit is the place after a record that was read, to be committed by a [GroupConsumer] once the
// record is done. The commit is refused when another member has had the partition since the record was
// handed out, also if it is the member's again.
func (r *Record) ToCommit() CommittedOffset {
	tp := TopicPartition{r.Topic, r.Partition}
	return CommittedOffset{TopicPartition: tp, Offset: r.Offset + 1, era: r.era}
}

// A TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// fieldSize is the encoded size of a length-delimited field whose number is below 16.
func fieldSize(n int) int { return 1 + varintSize(uint64(n)) + n }

func varintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// encodedSize is the size of the record in its encoded form, which is what max_record_bytes bounds.
func (r *Record) encodedSize() int {
	n := 0
	if r.Key != nil {
		n += fieldSize(len(r.Key))
	}
	if r.Value != nil {
		n += fieldSize(len(r.Value))
	}
	for i := range r.Headers {
		h := 0
		if k := len(r.Headers[i].Key); k > 0 {
			h += fieldSize(k)
		}
		if r.Headers[i].Value != nil {
			h += fieldSize(len(r.Headers[i].Value))
		}
		n += fieldSize(h)
	}
	if !r.Timestamp.IsZero() {
		t := 0
		if s := r.Timestamp.Unix(); s != 0 {
			t += 1 + varintSize(uint64(s))
		}
		if ns := r.Timestamp.Nanosecond(); ns != 0 {
			t += 1 + varintSize(uint64(ns))
		}
		n += fieldSize(t)
	}
	if r.TTL > 0 {
		t := 0
		if s := r.TTL / time.Second; s != 0 {
			t += 1 + varintSize(uint64(s))
		}
		if ns := r.TTL % time.Second; ns != 0 {
			t += 1 + varintSize(uint64(ns))
		}
		n += fieldSize(t)
	}
	return n
}

// validate refuses what cannot be encoded; the broker checks the rest.
func (r *Record) validate(topic string) *Error {
	if topic == "" || !utf8.ValidString(topic) {
		return newError("produce", ReasonInvalidTopicName, codes.InvalidArgument, OutcomeNo,
			"topic name %q is not valid", topic)
	}
	for i := range r.Headers {
		if !utf8.ValidString(r.Headers[i].Key) {
			return invalidError("produce", "the key of header %d is not valid UTF-8", i)
		}
	}
	if !r.Timestamp.IsZero() {
		if err := timestamppb.New(r.Timestamp).CheckValid(); err != nil {
			return invalidError("produce", "timestamp: %v", err)
		}
	}
	if r.TTL != 0 && r.TTL < time.Millisecond {
		return invalidError("produce", "TTL: %v is less than a millisecond", r.TTL)
	}
	return nil
}

// encodeRecords builds the wire form of records. The messages are cut from slabs, because one
// allocation a record is what a batch exists to avoid.
func encodeRecords(records []*pending) *pb.RecordSet {
	slab := make([]pb.Record, len(records))
	list := make([]*pb.Record, len(records))
	stamped, headers := 0, 0
	for _, p := range records {
		if !p.record.Timestamp.IsZero() {
			stamped++
		}
		headers += len(p.record.Headers)
	}
	stamps := make([]timestamppb.Timestamp, stamped)
	headerSlab := make([]pb.Header, headers)
	headerList := make([]*pb.Header, headers)
	for i, p := range records {
		r, out := p.record, &slab[i]
		out.Key, out.Value = r.Key, r.Value
		if !r.Timestamp.IsZero() {
			stamp := &stamps[0]
			stamps = stamps[1:]
			stamp.Seconds, stamp.Nanos = r.Timestamp.Unix(), int32(r.Timestamp.Nanosecond())
			out.Timestamp = stamp
		}
		if r.TTL != 0 {
			out.Ttl = durationpb.New(r.TTL)
		}
		if n := len(r.Headers); n > 0 {
			out.Headers, headerList = headerList[:n:n], headerList[n:]
			for j := range r.Headers {
				headerSlab[j].Key, headerSlab[j].Value = r.Headers[j].Key, r.Headers[j].Value
				out.Headers[j] = &headerSlab[j]
			}
			headerSlab = headerSlab[n:]
		}
		list[i] = out
	}
	return &pb.RecordSet{Records: list}
}
