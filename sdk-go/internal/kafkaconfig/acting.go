package kafkaconfig

import (
	"strconv"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Kind is the type of a setting's value, with the numbers of Kafka's protocol.
type Kind int8

// The types of values that there are.
const (
	Bool   Kind = 1
	String Kind = 2
	Int    Kind = 3
	Long   Kind = 5
	Double Kind = 6
	List   Kind = 7
)

// A setting is one that acts.
type setting struct {
	name string
	kind Kind
	// usual is what a topic has that was not told.
	usual string
	about string
	// takes says which values there are.
	takes string
	// show returns the value in force.
	show func(*ropewalk.TopicSettings) string
	// parse turns a value into a setting of the core; it reports false for one that there is not.
	parse func(string) (ropewalk.TopicSetting, bool)
}

const (
	anyNumber   = "it takes a number"
	anyMillis   = "it takes milliseconds, from 0 on"
	foreverToo  = "it takes milliseconds, or -1 for no end"
	day         = 24 * 60 * 60 * 1000
	longestTime = "9223372036854775807"
)

// acting are the settings that act, by name.
var acting = []setting{
	{
		name: "cleanup.policy", kind: List, usual: "delete",
		about: "What becomes of old records: delete, compact, or both with a comma between.",
		takes: "it takes delete, compact, or both with a comma between",
		show:  func(s *ropewalk.TopicSettings) string { return s.CleanupPolicy.String() },
		parse: parseCleanup,
	},
	{
		name: "compression.type", kind: String, usual: "producer",
		about: "How producers compress that were not told: producer, gzip, snappy, lz4 or zstd. " +
			"Brokers compress nothing anew.",
		takes: "it takes producer, gzip, snappy, lz4 or zstd, and producers follow it that were not " +
			"told; for uncompressed, take producer and tell no producer to compress",
		show:  func(s *ropewalk.TopicSettings) string { return s.Compression.String() },
		parse: parseCompression,
	},
	{
		name: "delete.retention.ms", kind: Long, usual: strconv.Itoa(day),
		about: "How long a compacted topic keeps records without a value, in milliseconds.",
		takes: anyMillis,
		show:  func(s *ropewalk.TopicSettings) string { return millis(s.DeleteRetention) },
		parse: duration(ropewalk.DeleteRetention, false),
	},
	{
		name: "max.message.bytes", kind: Int, usual: strconv.Itoa(1 << 20),
		about: "The most bytes that one record may have in its encoded form.",
		takes: anyNumber,
		show: func(s *ropewalk.TopicSettings) string {
			return strconv.Itoa(int(s.MaxRecordBytes))
		},
		parse: func(value string) (ropewalk.TopicSetting, bool) {
			n, err := strconv.ParseInt(value, 10, 32)
			return ropewalk.MaxRecordBytes(int32(n)), err == nil
		},
	},
	{
		name: "message.timestamp.type", kind: String, usual: createTime,
		about: "Whose clock gives a record its time: CreateTime or LogAppendTime.",
		takes: "it takes CreateTime or LogAppendTime",
		show: func(s *ropewalk.TopicSettings) string {
			if s.TimestampType == ropewalk.TimestampAppend {
				return appendTime
			}
			return createTime
		},
		parse: parseTimestampType,
	},
	{
		name: "record.ttl.ms", kind: Long, usual: "-1",
		about: "How long a record is delivered, in milliseconds; -1: as long as it is there. " +
			"Kafka has no such setting.",
		takes: foreverToo,
		show:  func(s *ropewalk.TopicSettings) string { return millis(s.RecordTTL) },
		parse: duration(ropewalk.RecordTTL, true),
	},
	{
		name: "retention.bytes", kind: Long, usual: "-1",
		about: "How many bytes of records a partition keeps at least; -1: no bound.",
		takes: anyNumber,
		show: func(s *ropewalk.TopicSettings) string {
			return strconv.FormatInt(s.RetentionBytes, 10)
		},
		parse: number(ropewalk.RetentionBytes),
	},
	{
		name: "retention.ms", kind: Long, usual: strconv.Itoa(7 * day),
		about: "How long a record is kept at least, in milliseconds; -1: for ever.",
		takes: foreverToo,
		show:  func(s *ropewalk.TopicSettings) string { return millis(s.Retention) },
		parse: duration(ropewalk.Retention, true),
	},
	{
		name: "segment.bytes", kind: Long, usual: strconv.Itoa(1 << 30),
		about: "The size in bytes at which a segment is closed.",
		takes: anyNumber,
		show: func(s *ropewalk.TopicSettings) string {
			return strconv.FormatInt(s.SegmentBytes, 10)
		},
		parse: number(ropewalk.SegmentBytes),
	},
	{
		name: "segment.ms", kind: Long, usual: strconv.Itoa(7 * day),
		about: "The age in milliseconds at which a segment is closed.",
		takes: anyMillis,
		show:  func(s *ropewalk.TopicSettings) string { return millis(s.SegmentAge) },
		parse: duration(ropewalk.SegmentAge, false),
	},
}

// millis is a time in Kafka's form; negative is without an end.
func millis(d time.Duration) string {
	if d < 0 {
		return "-1"
	}
	return strconv.FormatInt(d.Milliseconds(), 10)
}
