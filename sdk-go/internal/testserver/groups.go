package testserver

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// errNoGroups: what becomes of the groups of the server in memory, a test says event by event. The rest
// of them has a real broker.
var errNoGroups = status.Error(codes.Unimplemented, "the server in memory has no consumer groups")

// groups is what tests say of consumer groups, and what they are told.
type groups struct {
	members chan *Member
	refusal error
	fenced  map[int32]bool
	beyond  map[int32]bool
	// unanswered is how many commits are taken and not answered.
	unanswered int
	commits    []*pb.CommitOffsetRequest
	removed    []string
	plans      []*pb.SubmitAssignmentRequest
	watched    [][]*pb.ConsumerGroup
}

// Member is the other end of a stream of a member of a group: a test says what it brings.
type Member struct {
	Request *pb.SubscribeRequest
	// Gone is closed when the client has ended the stream.
	Gone   <-chan struct{}
	events chan *pb.SubscribeResponse
	end    chan error
}

// Join waits for the next stream of a member; nil when the context ends before.
func (s *Server) Join(ctx context.Context) *Member {
	select {
	case m := <-s.told.members:
		return m
	case <-ctx.Done():
		return nil
	}
}

// RefuseMembers has streams of members refused, until it is given nil.
func (s *Server) RefuseMembers(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told.refusal = err
}

// Fence has commits of partitions refused, as another member's.
func (s *Server) Fence(partitions ...int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told.fenced = map[int32]bool{}
	for _, partition := range partitions {
		s.told.fenced[partition] = true
	}
}

// EndBefore has commits of partitions refused, as beyond their end.
func (s *Server) EndBefore(partitions ...int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told.beyond = map[int32]bool{}
	for _, partition := range partitions {
		s.told.beyond[partition] = true
	}
}

// LoseAnswers has so many commits taken, and not answered. What they give back is another member's then.
func (s *Server) LoseAnswers(commits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told.unanswered = commits
}

// MemberCommits are the commits of members that were taken.
func (s *Server) MemberCommits() []*pb.CommitOffsetRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*pb.CommitOffsetRequest(nil), s.told.commits...)
}

// Removed are the ids of the members that were removed.
func (s *Server) Removed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.told.removed...)
}

// Plans are those that members have submitted.
func (s *Server) Plans() []*pb.SubmitAssignmentRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*pb.SubmitAssignmentRequest(nil), s.told.plans...)
}

// Watched says what the next streams that watch a group tell, before each breaks.
func (s *Server) Watched(streams ...[]*pb.ConsumerGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told.watched = streams
}

// Send has the stream bring an event: a *pb.Assignment, *pb.RecordBatch, *pb.Gap, *pb.Started,
// *pb.Heartbeat or *pb.PlanRequest.
func (m *Member) Send(event any) {
	r := &pb.SubscribeResponse{}
	switch e := event.(type) {
	case *pb.Started:
		r.Event = &pb.SubscribeResponse_Started{Started: e}
	case *pb.Assignment:
		r.Event = &pb.SubscribeResponse_Assignment{Assignment: e}
	case *pb.RecordBatch:
		r.Event = &pb.SubscribeResponse_Batch{Batch: e}
	case *pb.Gap:
		r.Event = &pb.SubscribeResponse_Gap{Gap: e}
	case *pb.Heartbeat:
		r.Event = &pb.SubscribeResponse_Heartbeat{Heartbeat: e}
	case *pb.PlanRequest:
		r.Event = &pb.SubscribeResponse_PlanRequest{PlanRequest: e}
	}
	m.events <- r
}

// End breaks the stream.
func (m *Member) End(err error) { m.end <- err }

func (s *Server) join(r *pb.SubscribeRequest, stream pb.ConsumerService_SubscribeServer) error {
	s.mu.Lock()
	refusal := s.told.refusal
	s.mu.Unlock()
	if refusal != nil {
		return refusal
	}
	ctx := stream.Context()
	m := &Member{
		Request: r, Gone: ctx.Done(),
		events: make(chan *pb.SubscribeResponse, 64), end: make(chan error, 1),
	}
	s.told.members <- m
	for {
		select {
		case event := <-m.events:
			if err := stream.Send(event); err != nil {
				return err
			}
		case err := <-m.end:
			return err
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// commitOfMember takes a commit if it may have all of its partitions; the caller holds the lock.
func (s *state) commitOfMember(r *pb.CommitOffsetRequest) (*pb.CommitOffsetResponse, error) {
	for _, o := range r.GetOffsets() {
		if s.told.beyond[o.GetPartition()] {
			return nil, Status(codes.OutOfRange, "OFFSET_OUT_OF_RANGE").Err()
		}
		if s.told.fenced[o.GetPartition()] {
			return nil, Status(codes.FailedPrecondition, "MEMBER_FENCED").Err()
		}
	}
	s.told.commits = append(s.told.commits, r)
	if s.told.unanswered > 0 {
		s.told.unanswered--
		if s.told.fenced == nil {
			s.told.fenced = map[int32]bool{}
		}
		for _, released := range r.GetRelease() {
			s.told.fenced[released.GetPartitions()[0]] = true
		}
		return nil, Status(codes.Unavailable, "LEADER_CHANGED").Err()
	}
	return &pb.CommitOffsetResponse{}, nil
}

func (c *consumerService) SubmitAssignment(
	_ context.Context, r *pb.SubmitAssignmentRequest,
) (*pb.SubmitAssignmentResponse, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.told.plans = append(c.s.told.plans, r)
	return &pb.SubmitAssignmentResponse{}, nil
}

func (*adminService) ListConsumerGroups(
	context.Context, *pb.ListConsumerGroupsRequest,
) (*pb.ListConsumerGroupsResponse, error) {
	return nil, errNoGroups
}

func (*adminService) GetConsumerGroup(
	context.Context, *pb.GetConsumerGroupRequest,
) (*pb.GetConsumerGroupResponse, error) {
	return nil, errNoGroups
}

func (a *adminService) WatchConsumerGroup(
	_ *pb.WatchConsumerGroupRequest, stream grpc.ServerStreamingServer[pb.WatchConsumerGroupResponse],
) error {
	a.s.mu.Lock()
	var groups []*pb.ConsumerGroup
	if len(a.s.told.watched) > 0 {
		groups, a.s.told.watched = a.s.told.watched[0], a.s.told.watched[1:]
	}
	a.s.mu.Unlock()
	for _, group := range groups {
		if err := stream.Send(&pb.WatchConsumerGroupResponse{Group: group}); err != nil {
			return err
		}
	}
	return Status(codes.Unavailable, "NO_LEADER").Err()
}

func (*adminService) DeleteConsumerGroup(
	context.Context, *pb.DeleteConsumerGroupRequest,
) (*pb.DeleteConsumerGroupResponse, error) {
	return nil, errNoGroups
}

func (a *adminService) RemoveConsumerGroupMember(
	_ context.Context, r *pb.RemoveConsumerGroupMemberRequest,
) (*pb.RemoveConsumerGroupMemberResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.s.told.removed = append(a.s.told.removed, r.GetMemberId())
	return &pb.RemoveConsumerGroupMemberResponse{}, nil
}

func (*adminService) DeleteCommittedOffsets(
	context.Context, *pb.DeleteCommittedOffsetsRequest,
) (*pb.DeleteCommittedOffsetsResponse, error) {
	return nil, errNoGroups
}
