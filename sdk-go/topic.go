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
			Retention:      s.GetRetention().AsDuration(),
			RetentionBytes: s.GetRetentionBytes(),
			SegmentBytes:   s.GetSegmentBytes(),
			SegmentAge:     s.GetSegmentAge().AsDuration(),
			MaxRecordBytes: s.GetMaxRecordBytes(),
			TimestampType:  TimestampType(s.GetTimestampType()),
		},
		CreateTime: t.GetCreateTime().AsTime(),
	}
}
