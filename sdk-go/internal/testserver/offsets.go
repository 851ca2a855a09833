package testserver

import (
	"context"
	"sort"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

type consumerService struct {
	pb.UnsafeConsumerServiceServer
	s *Server
}

// CommitOffset keeps positions.
func (c *consumerService) CommitOffset(
	_ context.Context, r *pb.CommitOffsetRequest,
) (*pb.CommitOffsetResponse, error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.GetGroup() == "" {
		return nil, invalid("group")
	}
	if r.GetMemberId() != "" {
		return s.commitOfMember(r)
	}
	if len(r.GetOffsets()) == 0 || len(r.GetOffsets()) > 10_000 {
		return nil, invalid("offsets")
	}
	for _, o := range r.GetOffsets() {
		p, err := s.existing(o.GetTopic(), o.GetPartition())
		if err != nil {
			return nil, err
		}
		if o.GetOffset() < 0 || o.GetOffset() > p.next() {
			return nil, Status(codes.OutOfRange, "OFFSET_OUT_OF_RANGE").Err()
		}
	}
	group := s.groups[r.GetGroup()]
	if group == nil {
		group = map[place]*pb.CommittedOffset{}
		s.groups[r.GetGroup()] = group
	}
	for _, o := range r.GetOffsets() {
		o.CommitTime = timestamppb.Now()
		group[place{o.GetTopic(), o.GetPartition()}] = o
	}
	return &pb.CommitOffsetResponse{}, nil
}

// existing finds a partition of a topic that is there; the caller holds the lock.
func (s *state) existing(name string, partition int32) (*partition, error) {
	t := s.topics[name]
	if t == nil {
		return nil, notFound("TOPIC_NOT_FOUND", name)
	}
	return t.find(partition)
}

// GetCommittedOffsets reads positions.
func (c *consumerService) GetCommittedOffsets(
	_ context.Context, r *pb.GetCommittedOffsetsRequest,
) (*pb.GetCommittedOffsetsResponse, error) {
	s := c.s
	s.mu.Lock()
	ask := s.onGetCommitted
	s.mu.Unlock()
	if ask != nil {
		if err := ask(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := map[string]bool{}
	for _, t := range r.GetTopics() {
		if _, err := s.topicNamed(t.GetTopic()); err != nil {
			return nil, err
		}
		wanted[t.GetTopic()] = true
	}
	answer := &pb.GetCommittedOffsetsResponse{}
	for at, o := range s.groups[r.GetGroup()] {
		if len(wanted) == 0 || wanted[at.topic] {
			answer.Offsets = append(answer.Offsets, o)
		}
	}
	sort.Slice(answer.Offsets, func(i, j int) bool {
		a, b := answer.Offsets[i], answer.Offsets[j]
		return a.Topic < b.Topic || a.Topic == b.Topic && a.Partition < b.Partition
	})
	return answer, nil
}

// ListOffsets resolves positions.
func (c *consumerService) ListOffsets(
	ctx context.Context, r *pb.ListOffsetsRequest,
) (*pb.ListOffsetsResponse, error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &pb.ListOffsetsResponse{}
	if len(r.GetQueries()) == 0 {
		return nil, invalid("queries")
	}
	for _, q := range r.GetQueries() {
		t := s.topics[q.GetTopic()]
		if t == nil {
			return nil, notFound("TOPIC_NOT_FOUND", q.GetTopic())
		}
		from, to := int32(0), int32(len(t.partitions))
		if q.Partition != nil {
			from, to = q.GetPartition(), q.GetPartition()+1
		}
		for number := from; number < to; number++ {
			p, err := t.find(number)
			if err != nil {
				return nil, err
			}
			hint, err := s.route(ctx, p)
			if err != nil {
				return nil, err
			}
			_ = grpc.SetTrailer(ctx, hint) // fails only outside of a call
			o := &pb.PartitionOffset{Topic: q.GetTopic(), Partition: number, Offset: p.start, LeaderEpoch: p.epoch}
			switch at := q.GetPosition().(type) {
			case *pb.OffsetQuery_Latest:
				o.Offset = p.next()
			case *pb.OffsetQuery_Timestamp:
				offset, stamp := t.atTime(p, at.Timestamp.AsTime())
				if o.Offset = offset; stamp != nil {
					o.Timestamp = timestamppb.New(*stamp)
				}
			}
			answer.Offsets = append(answer.Offsets, o)
		}
	}
	return answer, nil
}
