package testserver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

const (
	noForward     = "ropewalk-no-forward"
	leaderTrailer = "ropewalk-leader"
)

// cluster is what there is of the brokers, and what each of them did; guarded by the state's lock.
type cluster struct {
	brokers map[uint64]*pb.Broker
	// takers are the brokers that took a batch, or forwarded it; readers those that were subscribed to.
	takers, readers []uint64
	// refused counts batches, asked GetCluster calls.
	refused, asked int
	// behind is how many answers still tell of a partition as it was before its leader changed.
	behind int
}

func newCluster() cluster { return cluster{brokers: map[uint64]*pb.Broker{}} }

// started takes where a broker listens, unless it is told to be elsewhere.
func (c *cluster) started(id uint64, address string) {
	if c.brokers[id] == nil {
		c.brokers[id] = &pb.Broker{BrokerId: id, Address: address, Version: "test", Alive: true}
	}
}

// NewCluster starts brokers with the ids from 1 that share all that they hold. The first one leads
// every partition, until Lead says otherwise.
func NewCluster(count int) ([]*Server, error) {
	shared := newState()
	var servers []*Server
	for id := range uint64(count) {
		s := newServer(id+1, shared, "127.0.0.1:0")
		if err := s.Start(); err != nil {
			for _, started := range servers {
				started.Stop()
			}
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// Lead has a broker lead a partition, in a new epoch.
func (s *state) Lead(name string, number int32, broker uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.existing(name, number)
	if err != nil {
		return err
	}
	p.former, p.leader, p.epoch = p.leader, broker, p.epoch+1
	return nil
}

// FallBehind has the next answers to GetTopic tell who led before, as a broker does that has not heard
// yet.
func (s *state) FallBehind(answers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster.behind = answers
}

// Advertise has the cluster say that a broker is at an address; one that was forgotten is known again.
func (s *state) Advertise(broker uint64, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cluster.brokers, broker)
	s.cluster.started(broker, address)
}

// Forget has the cluster not know of a broker.
func (s *state) Forget(broker uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cluster.brokers, broker)
}

// Asked returns how often one of the brokers was asked for the cluster.
func (s *state) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cluster.asked
}

// Takers returns which broker took each batch so far, or forwarded it.
func (s *state) Takers() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cluster.takers)
}

// Readers returns to which broker each Subscribe call so far went.
func (s *state) Readers() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cluster.readers)
}

// Refused returns how many batches were refused as they were not to be forwarded.
func (s *state) Refused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cluster.refused
}

// Values returns what a partition holds.
func (s *state) Values(name string, number int32) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.existing(name, number)
	if err != nil {
		return nil, err
	}
	values := make([]string, 0, len(p.records))
	for _, e := range p.records {
		values = append(values, string(e.record.GetValue()))
	}
	return values, nil
}

// route lets a call pass at the leader of a partition. Elsewhere it gives the hint for the answer's
// trailers, or refuses a call that is not to be forwarded. The caller holds the lock.
func (s *Server) route(ctx context.Context, p *partition) (hint metadata.MD, err error) {
	if p.leader == s.id {
		return nil, nil
	}
	leader := s.cluster.brokers[p.leader]
	if leader == nil {
		return nil, Status(codes.Unavailable, "NO_LEADER").Err()
	}
	if asked, _ := metadata.FromIncomingContext(ctx); slices.Equal(asked.Get(noForward), []string{"1"}) {
		s.cluster.refused++
		return nil, Status(codes.Unavailable, "NOT_LEADER", "leader_id", strconv.FormatUint(p.leader, 10),
			"leader_address", leader.GetAddress(), "leader_epoch", strconv.FormatInt(p.epoch, 10)).Err()
	}
	text := fmt.Sprintf("%d %s %d", p.leader, leader.GetAddress(), p.epoch)
	return metadata.Pairs(leaderTrailer, text), nil
}

// routeBatch is route for the partition of a batch; what there is not is found out later.
func (s *Server) routeBatch(ctx context.Context, r *pb.ProduceRequest) (metadata.MD, error) {
	if p, err := s.existing(r.GetTopic(), r.GetPartition()); err == nil {
		return s.route(ctx, p)
	}
	return nil, nil
}

func (s *state) broker(id uint64) (*pb.Broker, error) {
	if b := s.cluster.brokers[id]; b != nil {
		return b, nil
	}
	return nil, invalid("broker_id")
}

// GetCluster describes the cluster.
func (a *adminService) GetCluster(
	context.Context, *pb.GetClusterRequest,
) (*pb.GetClusterResponse, error) {
	s := a.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster.asked++
	answer := &pb.GetClusterResponse{
		ClusterId:          s.ClusterID,
		ControllerBrokerId: 1,
		TopicCount:         int32(len(s.topics)),
		Limits: &pb.Limits{
			MaxRecordBytes: 3_670_016, MaxMessageBytes: 4 << 20, MaxRecordHeaderBytes: 64 << 10,
			MaxMetadataBytes: 16 << 10, MaxPartitionsPerTopic: 10_000, MaxNameBytes: 249, MaxPageSize: 1000,
		},
	}
	led := map[uint64]int32{}
	for _, t := range s.topics {
		answer.PartitionCount += t.info.PartitionCount
		for _, p := range t.partitions {
			led[p.leader]++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.cluster.brokers)) {
		b := proto.Clone(s.cluster.brokers[id]).(*pb.Broker)
		b.LeaderCount, b.ReplicaCount = led[id], answer.PartitionCount
		answer.Brokers = append(answer.Brokers, b)
	}
	return answer, nil
}

// UpdateBroker drains a broker, or ends that. It leads on: there is nothing to move here.
func (a *adminService) UpdateBroker(
	_ context.Context, r *pb.UpdateBrokerRequest,
) (*pb.UpdateBrokerResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	b, err := a.s.broker(r.GetBroker().GetBrokerId())
	if err != nil {
		return nil, err
	}
	if !slices.Equal(r.GetUpdateMask().GetPaths(), []string{"draining"}) {
		return nil, invalid("update_mask")
	}
	b.Draining = r.GetBroker().GetDraining()
	return &pb.UpdateBrokerResponse{Broker: proto.Clone(b).(*pb.Broker)}, nil
}

// RemoveBroker takes a broker out of the cluster.
func (a *adminService) RemoveBroker(
	_ context.Context, r *pb.RemoveBrokerRequest,
) (*pb.RemoveBrokerResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if _, err := a.s.broker(r.GetBrokerId()); err != nil || len(a.s.cluster.brokers) == 1 {
		return nil, invalid("broker_id")
	}
	delete(a.s.cluster.brokers, r.GetBrokerId())
	return &pb.RemoveBrokerResponse{}, nil
}

// ReassignPartitions checks what is asked for: there are no replicas here.
func (a *adminService) ReassignPartitions(
	_ context.Context, r *pb.ReassignPartitionsRequest,
) (*pb.ReassignPartitionsResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if len(r.GetAssignments()) == 0 {
		return nil, invalid("assignments")
	}
	for _, wanted := range r.GetAssignments() {
		if _, err := a.s.existing(wanted.GetTopic(), wanted.GetPartition()); err != nil {
			return nil, err
		}
		for _, id := range wanted.GetBrokerIds() {
			if _, err := a.s.broker(id); err != nil {
				return nil, err
			}
		}
	}
	return &pb.ReassignPartitionsResponse{}, nil
}

// TransferLeadership has another broker lead a partition; the first one is always the preferred.
func (a *adminService) TransferLeadership(
	_ context.Context, r *pb.TransferLeadershipRequest,
) (*pb.TransferLeadershipResponse, error) {
	to := max(r.GetBrokerId(), 1)
	a.s.mu.Lock()
	_, err := a.s.broker(to)
	a.s.mu.Unlock()
	if err != nil {
		return nil, invalid("broker_id")
	}
	if err := a.s.Lead(r.GetTopic(), r.GetPartition(), to); err != nil {
		return nil, err
	}
	return &pb.TransferLeadershipResponse{LeaderBrokerId: to}, nil
}
