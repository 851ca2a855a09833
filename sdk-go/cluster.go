package ropewalk

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A Broker is a member of the cluster.
type Broker struct {
	ID uint64
	// Address is where clients reach it, HOST:PORT.
	Address string
	Version string
	// Rack is the rack or zone that it stands in; empty when it has none.
	Rack string
	// Leaders is the number of partitions that it leads, Replicas that of those it has a replica of.
	Leaders, Replicas int32
	// SystemLeaders and SystemReplicas are the same for the broker's own groups: metadata and consumer
	// groups.
	SystemLeaders, SystemReplicas int32
	// StartTime is when it started, by its own clock; zero when it cannot be reached.
	StartTime time.Time
	// Alive is whether the broker that answers reaches it.
	Alive bool
	// Draining is whether it is to lead nothing, and to get no new replica while others can have it.
	Draining bool
	// Removed is whether it was removed, and some of its replicas are not gone yet. It has no address
	// any more.
	Removed bool
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
	ID string
	// Brokers are the brokers, by id.
	Brokers []Broker
	// Controller is the id of the broker that leads the metadata, 0 while none does.
	Controller uint64
	Topics     int32
	Partitions int32
	// UnderReplicated is the number of partitions with fewer replicas in sync than they are to have;
	// Leaderless that of those, among them, for which no leader answered within half a second.
	UnderReplicated, Leaderless int32
	Limits                      Limits
}

// GetCluster describes the cluster. It asks the leaders of all partitions; an answer may be a quarter
// of a second old.
func (a *Admin) GetCluster(ctx context.Context) (*Cluster, error) {
	answer, err := call(ctx, a.client, "get cluster", true,
		func(ctx context.Context) (*pb.GetClusterResponse, error) {
			return a.client.admins.GetCluster(ctx, &pb.GetClusterRequest{})
		})
	if err != nil {
		return nil, err
	}
	return clusterFrom(answer), nil
}

// GetBrokers is [Admin.GetCluster] without what the leaders of all partitions have to be asked for: the
// counts of leaders and replicas, UnderReplicated and Leaderless are 0.
func (a *Admin) GetBrokers(ctx context.Context) (*Cluster, error) {
	answer, err := call(ctx, a.client, "get brokers", true,
		func(ctx context.Context) (*pb.GetClusterResponse, error) {
			return a.client.admins.GetCluster(ctx, whoAreYou())
		})
	if err != nil {
		return nil, err
	}
	return clusterFrom(answer), nil
}

// SetDraining drains a broker, or ends that. A broker that drains hands over what it leads, and gets no
// new replica while others can have it; it keeps its replicas and serves calls. The call does not wait
// for it: Leaders and SystemLeaders of [Admin.GetCluster] fall to 0. For a broker that there is not,
// the error has [ReasonInvalidField].
func (a *Admin) SetDraining(ctx context.Context, broker uint64, draining bool) (*Broker, error) {
	request := &pb.UpdateBrokerRequest{
		Broker:     &pb.Broker{BrokerId: broker, Draining: draining},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"draining"}},
	}
	// It says what is to be, so that repeating it does no harm: it is retried like a read.
	answer, err := call(ctx, a.client, "update broker", true,
		func(ctx context.Context) (*pb.UpdateBrokerResponse, error) {
			return a.client.admins.UpdateBroker(ctx, request)
		})
	if err != nil {
		return nil, err
	}
	found := brokerFrom(answer.GetBroker())
	return &found, nil
}

// RemoveBroker takes a broker out of the cluster, for good: its replicas are built on others before its
// own go. The call does not wait for it: [Admin.GetCluster] shows the broker as Removed until its last
// replica is gone, and it should run until then. For a broker that there is not, for the last one, and
// where a topic has more replicas than there would be brokers, the error has [ReasonInvalidField].
func (a *Admin) RemoveBroker(ctx context.Context, broker uint64) error {
	_, err := call(ctx, a.client, "remove broker", false,
		func(ctx context.Context) (*pb.RemoveBrokerResponse, error) {
			return a.client.admins.RemoveBroker(ctx, &pb.RemoveBrokerRequest{BrokerId: broker})
		})
	return err
}

// An Assignment says where a partition is to be.
type Assignment struct {
	TopicPartition
	// Brokers are the ids of the brokers that are to have a replica, as many as the topic's replication
	// factor, the preferred leader first.
	Brokers []uint64
}

// ReassignPartitions says on which brokers partitions are to be: 1 to 10,000 of them, all or none. A
// replica that is new gets the records first, then votes, and only then do others go. The call does
// not wait for it: Members of [Admin.GetTopic] show how far it is. For brokers that cannot have a
// partition, the error has [ReasonInvalidField].
func (a *Admin) ReassignPartitions(ctx context.Context, assignments ...Assignment) error {
	request := &pb.ReassignPartitionsRequest{}
	for _, wanted := range assignments {
		request.Assignments = append(request.Assignments, &pb.PartitionAssignment{
			Topic: wanted.Topic, Partition: wanted.Partition, BrokerIds: wanted.Brokers,
		})
	}
	// It says what is to be, so that repeating it does no harm: it is retried like a read.
	_, err := call(ctx, a.client, "reassign partitions", true,
		func(ctx context.Context) (*pb.ReassignPartitionsResponse, error) {
			return a.client.admins.ReassignPartitions(ctx, request)
		})
	return err
}

// PreferredLeader stands, in [Admin.TransferLeadership], for the first broker of a partition's
// replicas.
const PreferredLeader uint64 = 0

// TransferLeadership has another broker lead a partition, or [PreferredLeader], and returns the broker
// that leads then. A broker that is named is the preferred leader from then on. The error has
// [ReasonInvalidField] for a broker that has no replica or is draining, [ReasonNoLeader] when its
// replica is not in sync, and [ReasonTimedOut] when it has not taken over in five seconds.
func (a *Admin) TransferLeadership(
	ctx context.Context, topic string, partition int32, broker uint64,
) (uint64, error) {
	request := &pb.TransferLeadershipRequest{Topic: topic, Partition: partition, BrokerId: broker}
	// It says what is to be, so that repeating it does no harm: it is retried like a read.
	answer, err := call(ctx, a.client, "transfer leadership", true,
		func(ctx context.Context) (*pb.TransferLeadershipResponse, error) {
			return a.client.admins.TransferLeadership(ctx, request)
		})
	if err != nil {
		return 0, err
	}
	a.client.topics.suspect(topic)
	return answer.GetLeaderBrokerId(), nil
}

func clusterFrom(c *pb.GetClusterResponse) *Cluster {
	l := c.GetLimits()
	cluster := &Cluster{
		ID:              c.GetClusterId(),
		Controller:      c.GetControllerBrokerId(),
		Topics:          c.GetTopicCount(),
		Partitions:      c.GetPartitionCount(),
		UnderReplicated: c.GetUnderReplicatedPartitionCount(),
		Leaderless:      c.GetLeaderlessPartitionCount(),
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
		cluster.Brokers = append(cluster.Brokers, brokerFrom(b))
	}
	return cluster
}

func brokerFrom(b *pb.Broker) Broker {
	broker := Broker{
		ID:             b.GetBrokerId(),
		Address:        b.GetAddress(),
		Version:        b.GetVersion(),
		Rack:           b.GetRack(),
		Leaders:        b.GetLeaderCount(),
		Replicas:       b.GetReplicaCount(),
		SystemLeaders:  b.GetSystemLeaderCount(),
		SystemReplicas: b.GetSystemReplicaCount(),
		Alive:          b.GetAlive(),
		Draining:       b.GetDraining(),
		Removed:        b.GetRemoved(),
	}
	if start := b.GetStartTime(); start != nil {
		broker.StartTime = start.AsTime()
	}
	return broker
}
