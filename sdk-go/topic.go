package ropewalk

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A Topic is a named set of partitions.
type Topic struct {
	Name string
	// ID is given by the cluster. A topic created again under the same name has another.
	ID         string
	Partitions int32
	// ReplicationFactor is the number of replicas of each partition: 1, 3 or 5.
	ReplicationFactor int32
	// Settings are those in force, defaults included.
	Settings   TopicSettings
	CreateTime time.Time
}

// TopicSettings are the settings in force for a topic.
type TopicSettings struct {
	// Retention is how long a record is kept at least; negative: for ever.
	Retention time.Duration
	// RetentionBytes is how many bytes a partition keeps at least; -1: no bound.
	RetentionBytes int64
	// SegmentBytes and SegmentAge say when a segment is closed. Retention removes whole segments.
	SegmentBytes int64
	SegmentAge   time.Duration
	// MaxRecordBytes is the most that one record may have in its encoded form.
	MaxRecordBytes int32
	// TimestampType says whose clock gives a record its time.
	TimestampType TimestampType
	// CleanupPolicy says what becomes of old records.
	CleanupPolicy CleanupPolicy
	// DeleteRetention is how long a compacted topic keeps records that have a key and no value.
	DeleteRetention time.Duration
	// RecordTTL is how long a record is delivered; negative: as long as it is there.
	RecordTTL time.Duration
	// Compression says how producers compress that were not told themselves.
	Compression TopicCompression
}

// TopicCompression says how producers are to compress what they send to a topic. Those that were told
// themselves, [WithCompression], do as they were told; brokers take every batch as it comes.
type TopicCompression int32

const (
	// TopicCompressionProducer: as each producer chooses; not at all, unless it was told.
	TopicCompressionProducer = TopicCompression(pb.TopicCompression_TOPIC_COMPRESSION_PRODUCER)
	// TopicCompressionGzip: gzip.
	TopicCompressionGzip = TopicCompression(pb.TopicCompression_TOPIC_COMPRESSION_GZIP)
	// TopicCompressionSnappy: snappy.
	TopicCompressionSnappy = TopicCompression(pb.TopicCompression_TOPIC_COMPRESSION_SNAPPY)
	// TopicCompressionLZ4: LZ4.
	TopicCompressionLZ4 = TopicCompression(pb.TopicCompression_TOPIC_COMPRESSION_LZ4)
	// TopicCompressionZstd: Zstandard.
	TopicCompressionZstd = TopicCompression(pb.TopicCompression_TOPIC_COMPRESSION_ZSTD)
)

// String returns producer, gzip, snappy, lz4 or zstd.
func (c TopicCompression) String() string {
	switch codec := c.codec(); {
	case codec != CompressionNone:
		return codec.String()
	case c == TopicCompressionProducer:
		return "producer"
	}
	return "unknown"
}

// codec is how a producer compresses that was not told. One that this version does not know is none.
func (c TopicCompression) codec() Compression {
	switch c {
	case TopicCompressionGzip:
		return CompressionGzip
	case TopicCompressionSnappy:
		return CompressionSnappy
	case TopicCompressionLZ4:
		return CompressionLZ4
	case TopicCompressionZstd:
		return CompressionZstd
	}
	return CompressionNone
}

// CleanupPolicy says what becomes of the records of a topic in the end.
type CleanupPolicy int32

const (
	// CleanupDelete: the oldest segments go, by age and by size.
	CleanupDelete = CleanupPolicy(pb.CleanupPolicy_CLEANUP_POLICY_DELETE)
	// CleanupCompact: of each key only the latest record stays.
	CleanupCompact = CleanupPolicy(pb.CleanupPolicy_CLEANUP_POLICY_COMPACT)
	// CleanupCompactAndDelete: both.
	CleanupCompactAndDelete = CleanupPolicy(pb.CleanupPolicy_CLEANUP_POLICY_COMPACT_AND_DELETE)
)

// String returns delete, compact, or compact,delete.
func (p CleanupPolicy) String() string {
	switch p {
	case CleanupDelete:
		return "delete"
	case CleanupCompact:
		return "compact"
	case CleanupCompactAndDelete:
		return "compact,delete"
	}
	return "unknown"
}

// TimestampType says whose clock gives a record its time.
type TimestampType int32

const (
	// TimestampCreate: the producer's; the append time for a record that has none.
	TimestampCreate = TimestampType(pb.TimestampType_TIMESTAMP_TYPE_CREATE)
	// TimestampAppend: the leader's, when it appended the batch.
	TimestampAppend = TimestampType(pb.TimestampType_TIMESTAMP_TYPE_APPEND)
)

// String returns create or append.
func (t TimestampType) String() string {
	switch t {
	case TimestampCreate:
		return "create"
	case TimestampAppend:
		return "append"
	}
	return "unknown"
}

// KeepForever is a retention that never removes a record.
const KeepForever time.Duration = -1

// A TopicSetting is a value for one setting, for [Admin.CreateTopic] and [Admin.UpdateTopic].
type TopicSetting struct {
	path  string
	apply func(*pb.Topic)
}

func setting(name string, apply func(*pb.TopicSettings)) TopicSetting {
	return TopicSetting{"settings." + name, func(t *pb.Topic) { apply(t.Settings) }}
}

// ReplicationFactor sets the number of replicas of each partition: 1, 3 or 5, each on a broker of its
// own. Default: 3 in a cluster of at least three brokers that are not draining, else 1; that is taken
// when the topic is created, so that there is no [Default] of it later.
func ReplicationFactor(n int32) TopicSetting {
	return TopicSetting{"replication_factor", func(t *pb.Topic) { t.ReplicationFactor = n }}
}

// Retention sets how long a record is kept at least. Default: 7 days. At least 1 s, or
// [KeepForever].
func Retention(d time.Duration) TopicSetting {
	return setting("retention", func(s *pb.TopicSettings) { s.Retention = durationpb.New(d) })
}

// RetentionBytes sets how many bytes of records a partition keeps at least. Default: -1, no bound.
func RetentionBytes(n int64) TopicSetting {
	return setting("retention_bytes", func(s *pb.TopicSettings) { s.RetentionBytes = &n })
}

// SegmentBytes sets the size at which a segment is closed. Default: 1 GiB. 64 KiB to 8 GiB.
func SegmentBytes(n int64) TopicSetting {
	return setting("segment_bytes", func(s *pb.TopicSettings) { s.SegmentBytes = &n })
}

// SegmentAge sets the age at which a segment is closed. Default: 7 days. At least 1 s.
func SegmentAge(d time.Duration) TopicSetting {
	return setting("segment_age", func(s *pb.TopicSettings) { s.SegmentAge = durationpb.New(d) })
}

// MaxRecordBytes sets the most that one record may have. Default: 1 MiB. At most 3.5 MiB.
func MaxRecordBytes(n int32) TopicSetting {
	return setting("max_record_bytes", func(s *pb.TopicSettings) { s.MaxRecordBytes = &n })
}

// Timestamps sets whose clock gives a record its time. Default: [TimestampCreate].
func Timestamps(t TimestampType) TopicSetting {
	return setting("timestamp_type", func(s *pb.TopicSettings) {
		s.TimestampType = pb.TimestampType(t)
	})
}

// Cleanup sets what becomes of old records. Default: [CleanupDelete].
func Cleanup(p CleanupPolicy) TopicSetting {
	return setting("cleanup_policy", func(s *pb.TopicSettings) {
		s.CleanupPolicy = pb.CleanupPolicy(p)
	})
}

// DeleteRetention sets how long a compacted topic keeps records that have a key and no value.
// Default: 24 hours.
func DeleteRetention(d time.Duration) TopicSetting {
	return setting("delete_retention", func(s *pb.TopicSettings) { s.DeleteRetention = durationpb.New(d) })
}

// RecordTTL sets how long a record is delivered. Default: as long as it is there, [KeepForever]. At
// least 1 s.
func RecordTTL(d time.Duration) TopicSetting {
	return setting("record_ttl", func(s *pb.TopicSettings) { s.RecordTtl = durationpb.New(d) })
}

// CompressedBy sets how producers compress that were not told themselves. Default:
// [TopicCompressionProducer]. Producers that run follow a change when they next ask for the topic, which
// they do once in the client's [WithMetadataAge].
func CompressedBy(c TopicCompression) TopicSetting {
	return setting("compression", func(s *pb.TopicSettings) {
		s.Compression = pb.TopicCompression(c)
	})
}

// Default sets a setting back to its default.
func Default(setting TopicSetting) TopicSetting {
	return TopicSetting{setting.path, func(*pb.Topic) {}}
}

// PartitionInfo is the state of a partition.
type PartitionInfo struct {
	Partition int32
	// Leader is the id of the broker that leads it, 0 while none does.
	Leader      uint64
	LeaderEpoch int64
	// Replicas are the ids of the brokers that are to hold a replica, the preferred leader first.
	Replicas []uint64
	// Members are the replicas that there are now, by broker. While the partition moves, they are not
	// yet those of Replicas. Empty when no leader answers within half a second.
	Members []Replica
	// LogStart is the offset of the first record, HighWatermark that after the last readable one.
	LogStart, HighWatermark int64
	// SizeBytes is what the records take in their stored form.
	SizeBytes int64
}

// A Replica is a copy of a partition, as the partition's leader knows it.
type Replica struct {
	// Broker is the id of the broker that has it.
	Broker uint64
	// Voter is whether it votes. One that does not gets the records, and is to vote or to go.
	Voter bool
	// InSync is whether it has answered the leader within the last two seconds, and lacks at most 128
	// entries.
	InSync bool
	// Lag is how many entries of the log it lacks. An entry is a batch of records, or the broker's own.
	Lag int64
	// MatchedIndex is the index of the last entry that it has on its disk.
	MatchedIndex int64
}

func partitionFrom(p *pb.PartitionInfo) PartitionInfo {
	info := PartitionInfo{
		Partition:     p.GetPartition(),
		Leader:        p.GetLeaderBrokerId(),
		LeaderEpoch:   p.GetLeaderEpoch(),
		Replicas:      p.GetReplicaBrokerIds(),
		LogStart:      p.GetLogStartOffset(),
		HighWatermark: p.GetHighWatermark(),
		SizeBytes:     p.GetSizeBytes(),
	}
	for _, r := range p.GetReplicas() {
		info.Members = append(info.Members, Replica{
			Broker:       r.GetBrokerId(),
			Voter:        r.GetVoter(),
			InSync:       r.GetInSync(),
			Lag:          r.GetLag(),
			MatchedIndex: r.GetMatchedIndex(),
		})
	}
	return info
}

func topicFrom(t *pb.Topic) *Topic {
	s := t.GetSettings()
	return &Topic{
		Name:              t.GetName(),
		ID:                t.GetTopicId(),
		Partitions:        t.GetPartitionCount(),
		ReplicationFactor: t.GetReplicationFactor(),
		Settings: TopicSettings{
			Retention:       s.GetRetention().AsDuration(),
			RetentionBytes:  s.GetRetentionBytes(),
			SegmentBytes:    s.GetSegmentBytes(),
			SegmentAge:      s.GetSegmentAge().AsDuration(),
			MaxRecordBytes:  s.GetMaxRecordBytes(),
			TimestampType:   TimestampType(s.GetTimestampType()),
			CleanupPolicy:   CleanupPolicy(s.GetCleanupPolicy()),
			DeleteRetention: s.GetDeleteRetention().AsDuration(),
			RecordTTL:       s.GetRecordTtl().AsDuration(),
			Compression:     TopicCompression(s.GetCompression()),
		},
		CreateTime: t.GetCreateTime().AsTime(),
	}
}
