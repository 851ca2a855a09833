package testserver

import (
	"context"
	"sort"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

type adminService struct {
	pb.UnsafeAdminServiceServer
	s *Server
}

// CreateTopic creates a topic.
func (a *adminService) CreateTopic(
	_ context.Context, r *pb.CreateTopicRequest,
) (*pb.CreateTopicResponse, error) {
	s := a.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := checkName(r.GetName()); err != nil {
		return nil, err
	}
	if s.topics[r.GetName()] != nil {
		return nil, Status(codes.AlreadyExists, "TOPIC_EXISTS", "topic", r.GetName()).Err()
	}
	partitions := r.GetPartitionCount()
	if partitions == 0 {
		partitions = s.DefaultPartitions
	}
	if partitions < 0 || partitions > 10_000 {
		return nil, invalid("partition_count")
	}
	t := s.create(r.GetName(), partitions, r.GetSettings())
	return &pb.CreateTopicResponse{Topic: snapshot(t)}, nil
}

// snapshot copies a topic: answers are encoded after the lock is given up.
func snapshot(t *topic) *pb.Topic { return proto.Clone(t.info).(*pb.Topic) }

func (s *state) topicNamed(name string) (*topic, error) {
	if t := s.topics[name]; t != nil {
		return t, nil
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	return nil, notFound("TOPIC_NOT_FOUND", name)
}

// GetTopic describes a topic.
func (a *adminService) GetTopic(
	_ context.Context, r *pb.GetTopicRequest,
) (*pb.GetTopicResponse, error) {
	s := a.s
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.topicNamed(r.GetName())
	if err != nil {
		return nil, err
	}
	answer := &pb.GetTopicResponse{Topic: snapshot(t)}
	isBehind := s.cluster.behind > 0
	if isBehind {
		s.cluster.behind--
	}
	for i, p := range t.partitions {
		leader, epoch := p.leader, p.epoch
		if isBehind {
			leader, epoch = p.former, p.epoch-1
		}
		answer.Partitions = append(answer.Partitions, &pb.PartitionInfo{
			Partition: int32(i), LeaderBrokerId: leader, LeaderEpoch: epoch, ReplicaBrokerIds: []uint64{1},
			LogStartOffset: p.start, HighWatermark: p.next(), SizeBytes: p.bytes,
		})
	}
	return answer, nil
}

// ListTopics lists topics; the page token is the last name of the page before.
func (a *adminService) ListTopics(
	_ context.Context, r *pb.ListTopicsRequest,
) (*pb.ListTopicsResponse, error) {
	s := a.s
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.topics {
		if strings.HasPrefix(name, r.GetNamePrefix()) && name > r.GetPageToken() {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	size := int(r.GetPageSize())
	if size == 0 {
		size = 100
	}
	answer := &pb.ListTopicsResponse{}
	if len(names) > size {
		names = names[:size]
		answer.NextPageToken = names[size-1]
	}
	for _, name := range names {
		answer.Topics = append(answer.Topics, snapshot(s.topics[name]))
	}
	return answer, nil
}

// UpdateTopic changes settings, or adds partitions.
func (a *adminService) UpdateTopic(
	_ context.Context, r *pb.UpdateTopicRequest,
) (*pb.UpdateTopicResponse, error) {
	s := a.s
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.topicNamed(r.GetTopic().GetName())
	if err != nil {
		return nil, err
	}
	if len(r.GetUpdateMask().GetPaths()) == 0 {
		return nil, invalid("update_mask")
	}
	wanted := withDefaults(r.GetTopic().GetSettings()).ProtoReflect()
	settings := t.info.Settings.ProtoReflect()
	for _, path := range r.GetUpdateMask().GetPaths() {
		if path == "partition_count" {
			if r.GetTopic().GetPartitionCount() < t.info.PartitionCount {
				return nil, invalid(path)
			}
			t.grow(r.GetTopic().GetPartitionCount())
			continue
		}
		name, ok := strings.CutPrefix(path, "settings.")
		field := settings.Descriptor().Fields().ByTextName(name)
		if !ok || field == nil {
			return nil, invalid("update_mask")
		}
		settings.Set(field, wanted.Get(field))
	}
	s.signal()
	return &pb.UpdateTopicResponse{Topic: snapshot(t)}, nil
}

// DeleteTopic deletes a topic and the positions in it.
func (a *adminService) DeleteTopic(
	_ context.Context, r *pb.DeleteTopicRequest,
) (*pb.DeleteTopicResponse, error) {
	s := a.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.topicNamed(r.GetName()); err != nil {
		return nil, err
	}
	delete(s.topics, r.GetName())
	for _, group := range s.groups {
		for at := range group {
			if at.topic == r.GetName() {
				delete(group, at)
			}
		}
	}
	s.signal()
	return &pb.DeleteTopicResponse{}, nil
}

// DeleteRecords moves the start of partitions.
func (a *adminService) DeleteRecords(
	_ context.Context, r *pb.DeleteRecordsRequest,
) (*pb.DeleteRecordsResponse, error) {
	s := a.s
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.topicNamed(r.GetTopic())
	if err != nil {
		return nil, err
	}
	if len(r.GetTargets()) == 0 {
		return nil, invalid("targets")
	}
	answer := &pb.DeleteRecordsResponse{}
	for _, target := range r.GetTargets() {
		p, err := t.find(target.GetPartition())
		if err != nil {
			return nil, err
		}
		before := target.GetBeforeOffset()
		if before == -1 {
			before = p.next()
		}
		if before < 0 || before > p.next() {
			return nil, Status(codes.OutOfRange, "OFFSET_OUT_OF_RANGE").Err()
		}
		if before > p.start {
			p.records = append([]entry(nil), p.records[before-p.start:]...)
			p.start = before
		}
		answer.Partitions = append(answer.Partitions,
			&pb.DeletedRecords{Partition: target.GetPartition(), LogStartOffset: p.start})
	}
	s.signal()
	return answer, nil
}
