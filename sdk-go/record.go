package ropewalk

import (
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
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
// held, all of the batch is as it was encoded, which is up to 4 MiB, and 16 MiB of one that was
// compressed. The records themselves are made up to 16,384 at once, with their headers, which is up
// to 6 MiB more. Whoever keeps little of it for long keeps a copy (bytes.Clone).
type Record struct {
	// Topic is the topic's name.
	Topic string
	// Partition is where a consumer read the record. A producer looks at it only with
	// [ManualPartitioner].
	Partition int32
	// TimestampType says whose clock the Timestamp of a record that was read is of: 0 for one that
	// was not read. Producers do not look at it: it is a setting of the topic, [Timestamps].
	TimestampType TimestampType
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

// The times that a Timestamp of protobuf can have, in seconds.
const (
	firstSecond = -62_135_596_800 // 0001-01-01T00:00:00Z
	lastSecond  = 253_402_300_799 // 9999-12-31T23:59:59Z
)

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
	if at := r.Timestamp; !at.IsZero() && (at.Unix() < firstSecond || at.Unix() > lastSecond) {
		return invalidError("produce", "timestamp: %v is not in the years 1 to 9999", at)
	}
	if r.TTL != 0 && r.TTL < time.Millisecond {
		return invalidError("produce", "TTL: %v is less than a millisecond", r.TTL)
	}
	return nil
}
