package sarama

import (
	"context"
	"errors"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// ClusterAdmin manages topics, their settings, consumer groups and offsets. It is safe for use by
// many goroutines. It must be closed, which closes its client too.
//
// A try is bounded by Admin.Timeout. What surely had no effect, and reading, is tried again up to
// Admin.Retry.Max times, Admin.Retry.Backoff apart. What Ropewalk has no counterpart for returns
// ErrUnsupportedVersion: access control lists, quotas, SCRAM users, log directories, features.
type ClusterAdmin interface {
	// CreateTopic creates a topic. Errors of the broker are a [*TopicError]: ErrTopicAlreadyExists,
	// ErrInvalidPartitions, ErrInvalidReplicationFactor, ErrInvalidConfig ... With validateOnly it
	// only checks what can be checked from here: name, numbers, settings, and that the name is free.
	CreateTopic(topic string, detail *TopicDetail, validateOnly bool) error
	// ListTopics returns all topics; of their settings, those that are not the default.
	ListTopics() (map[string]TopicDetail, error)
	// DescribeTopics describes topics, all when none is named. A topic that does not exist is
	// described by ErrUnknownTopicOrPartition; none is created.
	DescribeTopics(topics []string) (metadata []*TopicMetadata, err error)
	// DeleteTopic deletes a topic, its records and the offsets committed for it.
	DeleteTopic(topic string) error
	// CreatePartitions gives a topic more partitions, up to count. Errors of the broker are a
	// [*TopicPartitionError]. Assignment, unless it is nil, names the brokers of each new one.
	CreatePartitions(topic string, count int32, assignment [][]int32, validateOnly bool) error
	// AlterPartitionReassignments says which brokers have the partitions 0, 1, 2 ... of a topic. It
	// does not wait for them to move. A nil entry, which cancels a move in Kafka, is refused: say
	// where the partition is to be instead.
	AlterPartitionReassignments(topic string, assignment [][]int32) error
	// ListPartitionReassignments returns the partitions that are moving; all of the topic's are
	// looked at when none is named.
	ListPartitionReassignments(topics string, partitions []int32) (
		topicStatus map[string]map[int32]*PartitionReplicaReassignmentsStatus, err error)
	// DeleteRecords deletes, for good, the records of partitions below an offset; -1 stands for the
	// end of the partition.
	DeleteRecords(topic string, partitionOffsets map[int32]int64) error
	// DescribeConfig returns the settings of a topic by Kafka's names, or a [*DescribeConfigError].
	//
	// Deprecated: use DescribeConfigs.
	DescribeConfig(resource ConfigResource) ([]ConfigEntry, error)
	// DescribeConfigs returns the settings of topics by Kafka's names. Brokers are refused with
	// ErrUnsupportedVersion in their result: their settings stand in their files.
	DescribeConfigs(resources []*ConfigResource, options DescribeConfigsOptions) (
		[]*ConfigResourceResult, error)
	// AlterConfig gives a topic these settings, and all others their defaults. Errors of the broker
	// are an [*AlterConfigError].
	AlterConfig(resourceType ConfigResourceType, name string, entries map[string]*string,
		validateOnly bool) error
	// IncrementalAlterConfig changes these settings of a topic, and no others.
	IncrementalAlterConfig(resourceType ConfigResourceType, name string,
		entries map[string]IncrementalAlterConfigsEntry, validateOnly bool) error
	// CreateACL returns ErrUnsupportedVersion.
	//
	// Deprecated: use CreateACLs.
	CreateACL(resource Resource, acl Acl) error
	// CreateACLs returns ErrUnsupportedVersion.
	CreateACLs([]*ResourceAcls) error
	// ListAcls returns ErrUnsupportedVersion.
	ListAcls(filter AclFilter) ([]ResourceAcls, error)
	// DeleteACL returns ErrUnsupportedVersion.
	DeleteACL(filter AclFilter, validateOnly bool) ([]MatchingAcl, error)
	// ElectLeaders has the preferred brokers lead partitions; all partitions of all topics when the
	// map is nil. ErrElectionNotNeeded tells of one that is led by it already. An unclean election
	// would lose records: it returns ErrUnsupportedVersion.
	ElectLeaders(ElectionType, map[string][]int32) (map[string]map[int32]*PartitionResult, error)
	// ListConsumerGroups returns the names of all groups, each with "consumer".
	ListConsumerGroups() (map[string]string, error)
	// DescribeConsumerGroups describes groups. One that does not exist is in the state Dead.
	DescribeConsumerGroups(groups []string) ([]*GroupDescription, error)
	// ListConsumerGroupOffsets returns what a group has committed, for all partitions when none is
	// named. One without has the offset -1 when it was named, else it is left out.
	ListConsumerGroupOffsets(group string, topicPartitions map[string][]int32) (
		*OffsetFetchResponse, error)
	// ListConsumerGroupOffsetsBatch is ListConsumerGroupOffsets for many groups.
	ListConsumerGroupOffsetsBatch(groupTopics map[string]map[string][]int32) (
		map[string]*OffsetFetchResponseGroup, error)
	// ListOffsets resolves OffsetNewest, OffsetOldest or times in milliseconds. A time that no
	// record has or comes after gives the offset -1.
	ListOffsets(partitions map[string]map[int32]int64, options *ListOffsetsOptions) (
		map[string]map[int32]*OffsetResult, error)
	// AlterConsumerGroupOffsets commits offsets for a group that has no members; with members, each
	// partition is answered with ErrUnknownMemberId.
	AlterConsumerGroupOffsets(group string, offsets map[string]map[int32]OffsetAndMetadata,
		options *AlterConsumerGroupOffsetsOptions) (*OffsetCommitResponse, error)
	// DeleteConsumerGroupOffset deletes what a group without members has committed for a partition.
	DeleteConsumerGroupOffset(group string, topic string, partition int32) error
	// DeleteConsumerGroup deletes a group and what it has committed: ErrNonEmptyGroup while it has
	// members, ErrGroupIDNotFound when there is none.
	DeleteConsumerGroup(group string) error
	// DescribeCluster returns the brokers, and the id of the one that leads the metadata, -1 while
	// none does.
	DescribeCluster() (brokers []*Broker, controllerID int32, err error)
	// DescribeLogDirs returns ErrUnsupportedVersion: [ropewalk.Admin.GetTopic] tells of sizes.
	DescribeLogDirs(brokers []int32) (map[int32][]DescribeLogDirsResponseDirMetadata, error)
	// DescribeUserScramCredentials returns ErrUnsupportedVersion.
	DescribeUserScramCredentials(users []string) ([]*DescribeUserScramCredentialsResult, error)
	// DeleteUserScramCredentials returns ErrUnsupportedVersion.
	DeleteUserScramCredentials(delete []AlterUserScramCredentialsDelete) (
		[]*AlterUserScramCredentialsResult, error)
	// UpsertUserScramCredentials returns ErrUnsupportedVersion.
	UpsertUserScramCredentials(upsert []AlterUserScramCredentialsUpsert) (
		[]*AlterUserScramCredentialsResult, error)
	// UpdateFeatures returns ErrUnsupportedVersion.
	UpdateFeatures(featureUpdates []FeatureUpdate) ([]UpdatableFeatureResult, error)
	// DescribeClientQuotas returns ErrUnsupportedVersion.
	DescribeClientQuotas(components []QuotaFilterComponent, strict bool) (
		[]DescribeClientQuotasEntry, error)
	// AlterClientQuotas returns ErrUnsupportedVersion.
	AlterClientQuotas(entity []QuotaEntityComponent, op ClientQuotasOp, validateOnly bool) error
	// Controller returns the broker that leads the cluster's metadata.
	Controller() (*Broker, error)
	// Coordinator returns a broker for a consumer group, as [Client] does.
	Coordinator(group string) (*Broker, error)
	// RemoveMemberFromConsumerGroup removes static members by their instance names.
	RemoveMemberFromConsumerGroup(groupId string, groupInstanceIds []string) (
		*LeaveGroupResponse, error)
	// Close closes the admin and its client.
	Close() error
}

// TransactionClusterAdmin is a ClusterAdmin with what tells of transactions. What this package
// makes is one; there are no transactions, so that what it adds returns ErrUnsupportedVersion.
type TransactionClusterAdmin interface {
	ClusterAdmin

	// DescribeProducers returns ErrUnsupportedVersion.
	DescribeProducers(topicPartitions map[string][]int32) (
		map[string]map[int32]DescribeProducersResponsePartition, error)
	// DescribeTransactions returns ErrUnsupportedVersion.
	DescribeTransactions(transactionalIDs []string) (map[string]TransactionState, error)
	// ListTransactions returns ErrUnsupportedVersion.
	ListTransactions(stateFilters []string, producerIDFilters []int64, durationFilterMs int64) (
		[]ListTransactionsResponseTransactionState, error)
}

type clusterAdmin struct {
	client  Client
	conf    *Config
	core    *ropewalk.Client
	admin   *ropewalk.Admin
	view    *view
	release func() error
}

var _ TransactionClusterAdmin = (*clusterAdmin)(nil)

// NewClusterAdmin connects to a cluster, as [NewClient] does, to manage it.
func NewClusterAdmin(addrs []string, conf *Config) (ClusterAdmin, error) {
	client, err := NewClient(addrs, conf)
	if err != nil {
		return nil, err
	}
	admin, err := NewClusterAdminFromClient(client)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return admin, nil
}

// NewClusterAdminFromClient manages the cluster of a client. Closing the admin closes the client.
func NewClusterAdminFromClient(client Client) (ClusterAdmin, error) {
	if _, err := client.Controller(); err != nil {
		return nil, err
	}
	core, release, err := coreOf(client)
	if err != nil {
		return nil, err
	}
	a := &clusterAdmin{
		client: client, conf: client.Config(), core: core, admin: core.Admin(), release: release,
	}
	if a.view = viewOf(client); a.view == nil {
		a.view = newView(core, a.conf)
	}
	return a, nil
}

func (a *clusterAdmin) Close() error {
	a.view.close()
	return errors.Join(a.release(), a.client.Close())
}

func (a *clusterAdmin) Controller() (*Broker, error) { return a.client.Controller() }

func (a *clusterAdmin) Coordinator(group string) (*Broker, error) {
	return a.client.Coordinator(group)
}

// try runs a call of the core, bounded by Admin.Timeout, and again while that is safe. A call that
// says how things are to be, or only reads, is safe always. Errors are those of the core.
func (a *clusterAdmin) try(safe bool, call func(context.Context) error) error {
	if a.client.Closed() {
		return ErrClosedClient
	}
	for retries := 0; ; retries++ {
		ctx, cancel := context.WithTimeout(context.Background(), a.conf.Admin.Timeout)
		err := call(ctx)
		cancel()
		if err == nil || retries >= a.conf.Admin.Retry.Max || !passes(err, safe) {
			return err
		}
		Logger.Printf("admin: trying again in %v: %v\n", a.conf.Admin.Retry.Backoff, err)
		time.Sleep(a.conf.Admin.Retry.Backoff)
		if a.client.Closed() {
			return ErrClosedClient
		}
	}
}

// passes reports whether the same call may work later, and does no harm.
func passes(err error, safe bool) bool {
	var e *ropewalk.Error
	if !errors.As(err, &e) || !safe && e.Appended() != ropewalk.OutcomeNo {
		return false
	}
	return e.Retriable() || errors.Is(err, context.DeadlineExceeded)
}

// query is try for calls that are safe, and returns what sarama would.
func (a *clusterAdmin) query(call func(context.Context) error) error {
	return mapAdminError(a.try(true, call))
}

// change is try for calls that must not happen twice.
func (a *clusterAdmin) change(call func(context.Context) error) error {
	return mapAdminError(a.try(false, call))
}
