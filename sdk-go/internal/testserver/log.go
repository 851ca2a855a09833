package testserver

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
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
	// producers are the idempotent producers that it knows.
	producers map[uint64]*known
}

// known is what a partition knows of a producer: its epoch, and its batches, oldest first.
type known struct {
	epoch   uint32
	batches []sequenced
}

type sequenced struct {
	first, count uint32
	base         int64
}

// has reports whether a batch is there already.
func (p *partition) has(s *pb.ProducerSequence, count uint32) bool {
	k := p.producers[s.GetProducerId()]
	return k != nil && k.epoch == s.GetEpoch() && k.find(s, count) >= 0
}

// find returns the place of a batch, or -1: the last five are known again.
func (k *known) find(s *pb.ProducerSequence, count uint32) int {
	from := max(0, len(k.batches)-5)
	at := slices.IndexFunc(k.batches[from:], func(b sequenced) bool {
		return b.first == s.GetFirstSequence() && b.count == count
	})
	if at < 0 {
		return at
	}
	return from + at
}

// check compares a batch with those of its producer: it returns the base offset of one that is there
// already, or else notes it.
func (p *partition) check(s *pb.ProducerSequence, count uint32) (base int64, again bool, err error) {
	k := p.producers[s.GetProducerId()]
	if k == nil || k.epoch < s.GetEpoch() {
		k = &known{epoch: s.GetEpoch()}
	}
	next := uint32(0)
	if n := len(k.batches); n > 0 {
		next = k.batches[n-1].first + k.batches[n-1].count
	}
	switch {
	case k.epoch > s.GetEpoch():
		return 0, false, Status(codes.FailedPrecondition, "PRODUCER_FENCED").Err()
	case s.GetFirstSequence() == next:
		k.batches = append(k.batches, sequenced{next, count, p.next()})
		p.producers[s.GetProducerId()] = k
		return 0, false, nil
	}
	if at := k.find(s, count); at >= 0 {
		return k.batches[at].base, true, nil
	}
	return 0, false, Status(codes.FailedPrecondition, "SEQUENCE_GAP").Err()
}

// ForgetProducers has a partition know no producer any more.
func (s *state) ForgetProducers(topic string, number int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.topics[topic].partitions[number].producers)
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
		t.partitions = append(t.partitions, &partition{leader: 1, epoch: 1, producers: map[uint64]*known{}})
	}
	t.info.PartitionCount = total
}

func withDefaults(in *pb.TopicSettings) *pb.TopicSettings {
	out := &pb.TopicSettings{
		Retention:       durationpb.New(7 * 24 * time.Hour),
		RetentionBytes:  proto.Int64(-1),
		SegmentBytes:    proto.Int64(1 << 30),
		SegmentAge:      durationpb.New(7 * 24 * time.Hour),
		MaxRecordBytes:  proto.Int32(1 << 20),
		TimestampType:   pb.TimestampType_TIMESTAMP_TYPE_CREATE,
		CleanupPolicy:   pb.CleanupPolicy_CLEANUP_POLICY_DELETE,
		DeleteRetention: durationpb.New(24 * time.Hour),
		RecordTtl:       durationpb.New(-1),
		Compression:     pb.TopicCompression_TOPIC_COMPRESSION_PRODUCER,
	}
	// Not merged: of two times that would make a third.
	in.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		out.ProtoReflect().Set(f, v)
		return true
	})
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
	// A batch that is there already has met its condition.
	if want, ok := r.GetExpected().(*pb.ProduceRequest_ExpectedOffset); ok &&
		want.ExpectedOffset != p.next() && !p.has(r.GetSequence(), uint32(len(records))) {
		return nil, Status(codes.Aborted, "EXPECTED_OFFSET_MISMATCH",
			"expected", strconv.FormatInt(want.ExpectedOffset, 10), "current", strconv.FormatInt(p.next(), 10)).Err()
	}
	if err := p.checkVersion(r, len(records)); err != nil {
		return nil, err
	}
	now := time.Now()
	base, again := p.next(), false
	if r.GetSequence() != nil {
		var known int64
		known, again, err = p.check(r.GetSequence(), uint32(len(records)))
		if err != nil {
			return nil, err
		}
		if again {
			base, records = known, nil
		}
	}
	count := int32(len(r.GetRecords().GetRecords()))
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
		RecordCount: count,
		Duplicate:   again,
		AppendTime:  timestamppb.New(now),
		Achieved:    achieved,
		LeaderEpoch: p.epoch,
	}}}, nil
}
