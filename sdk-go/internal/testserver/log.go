package testserver

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

type topic struct {
	info       *pb.Topic
	partitions []*partition
}

type partition struct {
	start   int64
	records []entry
	bytes   int64
	// leader is the broker that leads it, 0 for none; former the one that led in the epoch before.
	leader, former uint64
	epoch          int64
}

type entry struct {
	record   *pb.Record
	appended time.Time
}

func (p *partition) next() int64 { return p.start + int64(len(p.records)) }

func (p *partition) at(offset int64) entry { return p.records[offset-p.start] }

// timeOf is the time of a record under the topic's rule.
func (t *topic) timeOf(e entry) time.Time {
	if e.record.Timestamp == nil ||
		t.info.Settings.TimestampType == pb.TimestampType_TIMESTAMP_TYPE_APPEND {
		return e.appended
	}
	return e.record.Timestamp.AsTime()
}

// atTime is the first offset whose record is of that time or later.
func (t *topic) atTime(p *partition, at time.Time) (int64, *time.Time) {
	for i, e := range p.records {
		if stamp := t.timeOf(e); !stamp.Before(at) {
			return p.start + int64(i), &stamp
		}
	}
	return p.next(), nil
}

var validName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

func checkName(name string) error {
	if !validName.MatchString(name) || name == "." || name == ".." {
		return Status(codes.InvalidArgument, "INVALID_TOPIC_NAME", "field", "name").Err()
	}
	return nil
}

// use returns a topic, created if need be; the caller holds the lock.
func (s *state) use(name string) (*topic, error) {
	if t := s.topics[name]; t != nil {
		return t, nil
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	if !s.AutoCreate {
		return nil, notFound("TOPIC_NOT_FOUND", name)
	}
	return s.create(name, s.DefaultPartitions, nil), nil
}

func notFound(reason, resource string) error {
	return Status(codes.NotFound, reason, "resource", resource).Err()
}

// create makes a topic; the caller holds the lock.
func (s *state) create(name string, partitions int32, settings *pb.TopicSettings) *topic {
	t := &topic{info: &pb.Topic{
		Name:           name,
		TopicId:        fmt.Sprintf("topic-%d", time.Now().UnixNano()),
		PartitionCount: partitions,
		Settings:       withDefaults(settings),
		CreateTime:     timestamppb.Now(),
	}}
	t.grow(partitions)
	s.topics[name] = t
	s.signal()
	return t
}

// grow adds partitions up to a total. The first broker leads them.
func (t *topic) grow(total int32) {
	for int32(len(t.partitions)) < total {
		t.partitions = append(t.partitions, &partition{leader: 1, epoch: 1})
	}
	t.info.PartitionCount = total
}

func withDefaults(in *pb.TopicSettings) *pb.TopicSettings {
	out := &pb.TopicSettings{
		Retention:      durationpb.New(7 * 24 * time.Hour),
		RetentionBytes: proto.Int64(-1),
		SegmentBytes:   proto.Int64(1 << 30),
		SegmentAge:     durationpb.New(7 * 24 * time.Hour),
		MaxRecordBytes: proto.Int32(1 << 20),
		TimestampType:  pb.TimestampType_TIMESTAMP_TYPE_CREATE,
	}
	if in != nil {
		proto.Merge(out, in)
	}
	return out
}

// find returns a partition; the caller holds the lock.
func (t *topic) find(number int32) (*partition, error) {
	if number < 0 || int(number) >= len(t.partitions) {
		return nil, notFound("PARTITION_NOT_FOUND", fmt.Sprintf("%s/%d", t.info.Name, number))
	}
	return t.partitions[number], nil
}

// append checks and appends a batch; the caller holds the lock.
func (s *state) append(r *pb.ProduceRequest) (*pb.ProduceResponse, error) {
	t, err := s.use(r.GetTopic())
	if err != nil {
		return nil, err
	}
	if r.Partition == nil {
		return nil, invalid("partition") // this server places no records
	}
	p, err := t.find(r.GetPartition())
	if err != nil {
		return nil, err
	}
	records := r.GetRecords().GetRecords()
	if len(records) == 0 {
		return nil, invalid("records")
	}
	limit := int(t.info.Settings.GetMaxRecordBytes())
	for _, record := range records {
		if size := proto.Size(record); size > limit {
			return nil, Status(codes.InvalidArgument, "RECORD_TOO_LARGE", "limit", strconv.Itoa(limit)).Err()
		}
	}
	if want, ok := r.GetExpected().(*pb.ProduceRequest_ExpectedOffset); ok && want.ExpectedOffset != p.next() {
		return nil, Status(codes.Aborted, "EXPECTED_OFFSET_MISMATCH",
			"expected", strconv.FormatInt(want.ExpectedOffset, 10), "current", strconv.FormatInt(p.next(), 10)).Err()
	}
	now := time.Now()
	base := p.next()
	for _, record := range records {
		p.records = append(p.records, entry{record, now})
		p.bytes += int64(proto.Size(record))
	}
	s.signal()
	achieved := r.GetDurability()
	if achieved == pb.Durability_DURABILITY_UNSPECIFIED {
		achieved = pb.Durability_DURABILITY_QUORUM
	}
	return &pb.ProduceResponse{Appends: []*pb.PartitionAppend{{
		Partition:   r.GetPartition(),
		BaseOffset:  base,
		RecordCount: int32(len(records)),
		AppendTime:  timestamppb.New(now),
		Achieved:    achieved,
		LeaderEpoch: p.epoch,
	}}}, nil
}
