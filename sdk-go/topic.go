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
	apply func(*pb.TopicSettings)
}

// Retention sets how long a record is kept at least. Default: 7 days. At least 1 s, or
// [KeepForever].
func Retention(d time.Duration) TopicSetting {
	return TopicSetting{"retention", func(s *pb.TopicSettings) { s.Retention = durationpb.New(d) }}
}

// RetentionBytes sets how many bytes of records a partition keeps at least. Default: -1, no bound.
func RetentionBytes(n int64) TopicSetting {
	return TopicSetting{"retention_bytes", func(s *pb.TopicSettings) { s.RetentionBytes = &n }}
}

// SegmentBytes sets the size at which a segment is closed. Default: 1 GiB. 64 KiB to 8 GiB.
func SegmentBytes(n int64) TopicSetting {
	return TopicSetting{"segment_bytes", func(s *pb.TopicSettings) { s.SegmentBytes = &n }}
}

// SegmentAge sets the age at which a segment is closed. Default: 7 days. At least 1 s.
func SegmentAge(d time.Duration) TopicSetting {
	return TopicSetting{"segment_age", func(s *pb.TopicSettings) { s.SegmentAge = durationpb.New(d) }}
}

// MaxRecordBytes sets the most that one record may have. Default: 1 MiB. At most 3.5 MiB.
func MaxRecordBytes(n int32) TopicSetting {
	return TopicSetting{"max_record_bytes", func(s *pb.TopicSettings) { s.MaxRecordBytes = &n }}
}

// Timestamps sets whose clock gives a record its time. Default: [TimestampCreate].
func Timestamps(t TimestampType) TopicSetting {
	return TopicSetting{"timestamp_type", func(s *pb.TopicSettings) {
		s.TimestampType = pb.TimestampType(t)
	}}
}

// Default sets a setting back to its default.
func Default(setting TopicSetting) TopicSetting {
	return TopicSetting{setting.path, func(*pb.TopicSettings) {}}
}

// PartitionInfo is the state of a partition.
type PartitionInfo struct {
	Partition int32
	// Leader is the id of the broker that leads it, 0 while none does.
	Leader      uint64
	LeaderEpoch int64
	// Replicas are the ids of the brokers that hold a replica.
	Replicas []uint64
	// LogStart is the offset of the first record, HighWatermark that after the last readable one.
	LogStart, HighWatermark int64
	// SizeBytes is what the records take in their stored form.
	SizeBytes int64
}

// A Broker is a member of the cluster.
type Broker struct {
	ID uint64
	// Address is where clients reach it, HOST:PORT.
	Address string
	Version string
	// Leaders is the number of partitions that it leads.
	Leaders   int32
	StartTime time.Time
}

// Limits are bounds that no setting moves.
type Limits struct {
	MaxRecordBytes        int32
	MaxMessageBytes       int32
	MaxRecordHeaderBytes  int32
	MaxMetadataBytes      int32
	MaxPartitionsPerTopic int32
	MaxNameBytes          int32
	MaxPageSize           int32
}

// A Cluster is a set of brokers and what they hold.
type Cluster struct {
	ID      string
	Brokers []Broker
	// Controller is the id of the broker that leads the metadata, 0 while none does.
	Controller uint64
	Topics     int32
	Partitions int32
	Limits     Limits
}

func topicFrom(t *pb.Topic) *Topic {
	s := t.GetSettings()
	return &Topic{
		Name:       t.GetName(),
		ID:         t.GetTopicId(),
		Partitions: t.GetPartitionCount(),
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

func clusterFrom(c *pb.GetClusterResponse) *Cluster {
	l := c.GetLimits()
	cluster := &Cluster{
		ID:         c.GetClusterId(),
		Controller: c.GetControllerBrokerId(),
		Topics:     c.GetTopicCount(),
		Partitions: c.GetPartitionCount(),
		Limits: Limits{
			MaxRecordBytes:        l.GetMaxRecordBytes(),
			MaxMessageBytes:       l.GetMaxMessageBytes(),
			MaxRecordHeaderBytes:  l.GetMaxRecordHeaderBytes(),
			MaxMetadataBytes:      l.GetMaxMetadataBytes(),
			MaxPartitionsPerTopic: l.GetMaxPartitionsPerTopic(),
			MaxNameBytes:          l.GetMaxNameBytes(),
			MaxPageSize:           l.GetMaxPageSize(),
		},
	}
	for _, b := range c.GetBrokers() {
		cluster.Brokers = append(cluster.Brokers, Broker{
			ID:        b.GetBrokerId(),
			Address:   b.GetAddress(),
			Version:   b.GetVersion(),
			Leaders:   b.GetLeaderCount(),
			StartTime: b.GetStartTime().AsTime(),
		})
	}
	return cluster
}
