package sarama

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// TopicDetail says how a topic is to be, or is.
type TopicDetail struct {
	// NumPartitions is the number of partitions: 1 to 10,000, or -1 for the broker's default or with
	// ReplicaAssignment.
	NumPartitions int32
	// ReplicationFactor is the number of replicas of each partition: 1, 3 or 5, or -1 for the
	// default, 3 in a cluster that has three brokers and else 1, or with ReplicaAssignment.
	ReplicationFactor int16
	// ReplicaAssignment names the brokers of each partition, the preferred leader first. The topic
	// is made first, and then moved there.
	ReplicaAssignment map[int32][]int32
	// ConfigEntries are settings by Kafka's names. These act: cleanup.policy, compression.type,
	// delete.retention.ms, max.message.bytes (of one record here), message.timestamp.type,
	// record.ttl.ms (Kafka has none), retention.bytes, retention.ms (from 1000 on, or -1; less is
	// refused), segment.bytes, segment.ms.
	// Of what Ropewalk always does in one way, a value is taken that asks for no more than that: as
	// a record always needs the majority of the replicas, and a leader always has all that was
	// acknowledged, min.insync.replicas is taken up to the majority, and
	// unclean.leader.election.enable when false. DescribeConfig shows these as ReadOnly, with what
	// is done. Anything else is refused by name with ErrInvalidConfig, which says what to do
	// instead. A nil value stands for the default.
	ConfigEntries map[string]*string
}

// TopicMetadata describes a topic.
type TopicMetadata struct {
	// Version is that of Kafka's message.
	Version int16
	// Err is ErrNoError, or why there is no description.
	Err KError
	// Name is the topic's name.
	Name string
	// Uuid is the topic's id: a topic created again under its name has another.
	Uuid Uuid
	// IsInternal is false: the broker's own topics are not shown.
	IsInternal bool
	// Partitions are its partitions, by id.
	Partitions []*PartitionMetadata
	// TopicAuthorizedOperations is 0: there are no access control lists.
	TopicAuthorizedOperations int32
}

// PartitionMetadata describes a partition.
type PartitionMetadata struct {
	// Version is that of Kafka's message.
	Version int16
	// Err is ErrNoError, or ErrLeaderNotAvailable.
	Err KError
	// ID is the partition, from 0.
	ID int32
	// Leader is the id of the broker that leads it, -1 while none does.
	Leader int32
	// LeaderEpoch is the leader's epoch.
	LeaderEpoch int32
	// Replicas are the brokers that are to have it, the preferred leader first.
	Replicas []int32
	// Isr are those whose replica keeps up with the leader.
	Isr []int32
	// OfflineReplicas are those that cannot be reached.
	OfflineReplicas []int32
}

// PartitionReplicaReassignmentsStatus is a partition that moves.
type PartitionReplicaReassignmentsStatus struct {
	// Replicas are the brokers that have a replica or are to have one.
	Replicas []int32
	// AddingReplicas are those that are to have one, and do not yet.
	AddingReplicas []int32
	// RemovingReplicas are those that are to lose theirs.
	RemovingReplicas []int32
}

// PartitionResult is what became of one partition.
type PartitionResult struct {
	// ErrorCode is ErrNoError when it worked.
	ErrorCode KError
	// ErrorMessage says more; nil when there is nothing to say.
	ErrorMessage *string
}

// ElectionType says how a leader is to be elected.
type ElectionType int8

const (
	// PreferredElection: the first broker of the replicas, when it is in sync.
	PreferredElection ElectionType = 0
	// UncleanElection: any broker, at the price of records. There is none here.
	UncleanElection ElectionType = 1
)

// Uuid is the id of a topic.
type Uuid [16]byte

// String returns it in base64, as Kafka's tools do.
func (u Uuid) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// uuidOf reads an id in the usual form with dashes; the zero id when it has another.
func uuidOf(text string) Uuid {
	var u Uuid
	if raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", "")); err == nil {
		copy(u[:], raw)
	}
	return u
}
