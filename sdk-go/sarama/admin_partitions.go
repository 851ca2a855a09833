package sarama

import (
	"context"
	"fmt"
	"maps"
	"slices"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

func (a *clusterAdmin) CreatePartitions(
	topic string, count int32, assignment [][]int32, validateOnly bool,
) error {
	if topic == "" {
		return ErrInvalidTopic
	}
	found, err := a.getTopic(topic)
	if err != nil {
		return partitionsError(err)
	}
	if err := checkGrowth(found, count, assignment); err != nil {
		return partitionsError(err)
	}
	if err := a.checkAssignment(assignment); err != nil {
		return partitionsError(err)
	}
	if validateOnly {
		return nil
	}
	a.view.forget(topic)
	err = a.try(false, func(ctx context.Context) error {
		_, err := a.admin.AddPartitions(ctx, topic, count)
		return err
	})
	if err != nil || len(assignment) == 0 {
		return orNil(err, partitionsError)
	}
	wanted := map[int32][]int32{}
	for i, brokers := range assignment {
		wanted[found.Partitions+int32(i)] = brokers
	}
	return orNil(a.place(topic, wanted), partitionsError)
}

func orNil(err error, wrap func(error) error) error {
	if err == nil {
		return nil
	}
	return wrap(err)
}

func checkGrowth(found described, count int32, assignment [][]int32) error {
	more := int(count - found.Partitions)
	switch {
	case more <= 0:
		return refuse(ErrInvalidPartitions,
			"the topic has %d partitions, which is not less than %d", found.Partitions, count)
	case count > maxPartitions:
		return refuse(ErrInvalidPartitions, "a topic has at most %d partitions", maxPartitions)
	case assignment != nil && len(assignment) != more:
		return refuse(ErrInvalidReplicaAssignment,
			"%d partitions are new, and %d are assigned", more, len(assignment))
	case len(assignment) > 0 && len(assignment[0]) != int(found.ReplicationFactor):
		return refuse(ErrInvalidReplicaAssignment,
			"a partition of this topic has %d replicas", found.ReplicationFactor)
	}
	return nil
}

func (a *clusterAdmin) AlterPartitionReassignments(topic string, assignment [][]int32) error {
	if topic == "" {
		return ErrInvalidTopic
	}
	wanted := map[int32][]int32{}
	for i, brokers := range assignment {
		if brokers == nil {
			return Wrap(ErrReassignPartitions, fmt.Errorf("[%s-%d]: %w", topic, i, ErrUnsupportedVersion))
		}
		wanted[int32(i)] = brokers
	}
	if err := mapAdminError(a.place(topic, wanted)); err != nil {
		return Wrap(ErrReassignPartitions, fmt.Errorf("[%s]: %w", topic, err))
	}
	return nil
}

func (a *clusterAdmin) ListPartitionReassignments(
	topic string, partitions []int32,
) (map[string]map[int32]*PartitionReplicaReassignmentsStatus, error) {
	if topic == "" {
		return nil, ErrInvalidTopic
	}
	found, err := a.getTopic(topic)
	if err != nil {
		return nil, mapAdminError(err)
	}
	moving := map[int32]*PartitionReplicaReassignmentsStatus{}
	for _, p := range found.partitions {
		if len(partitions) > 0 && !slices.Contains(partitions, p.Partition) {
			continue
		}
		if status := reassignment(p); status != nil {
			moving[p.Partition] = status
		}
	}
	if len(moving) == 0 {
		return map[string]map[int32]*PartitionReplicaReassignmentsStatus{}, nil
	}
	return map[string]map[int32]*PartitionReplicaReassignmentsStatus{topic: moving}, nil
}

// reassignment compares where a partition is with where it is to be; nil when it is there. Without
// a leader nobody knows where it is.
func reassignment(p ropewalk.PartitionInfo) *PartitionReplicaReassignmentsStatus {
	if len(p.Members) == 0 {
		return nil
	}
	wanted := brokerIDs(p.Replicas)
	var there []int32 // those that vote
	status := &PartitionReplicaReassignmentsStatus{Replicas: slices.Clone(wanted)}
	for _, replica := range p.Members {
		id := int32(replica.Broker)
		if replica.Voter {
			there = append(there, id)
		}
		if !slices.Contains(wanted, id) {
			status.Replicas = append(status.Replicas, id)
			status.RemovingReplicas = append(status.RemovingReplicas, id)
		}
	}
	for _, id := range wanted {
		if !slices.Contains(there, id) {
			status.AddingReplicas = append(status.AddingReplicas, id)
		}
	}
	if len(status.AddingReplicas) == 0 && len(status.RemovingReplicas) == 0 {
		return nil
	}
	return status
}

func (a *clusterAdmin) ElectLeaders(
	election ElectionType, partitions map[string][]int32,
) (map[string]map[int32]*PartitionResult, error) {
	if election != PreferredElection {
		return nil, ErrUnsupportedVersion
	}
	if partitions == nil {
		topics, err := a.listTopics()
		if err != nil {
			return nil, err
		}
		partitions = map[string][]int32{}
		for _, topic := range topics {
			for id := range topic.Partitions {
				partitions[topic.Name] = append(partitions[topic.Name], id)
			}
		}
	}
	results := map[string]map[int32]*PartitionResult{}
	for _, topic := range slices.Sorted(maps.Keys(partitions)) {
		results[topic] = map[int32]*PartitionResult{}
		found, err := a.getTopic(topic)
		for _, id := range partitions[topic] {
			err := err
			if err == nil {
				err = a.electPreferred(found, id)
			}
			result, err := partitionResult(err)
			if err != nil {
				return nil, err
			}
			results[topic][id] = result
		}
	}
	return results, nil
}

func (a *clusterAdmin) electPreferred(found described, id int32) error {
	at := slices.IndexFunc(found.partitions, func(p ropewalk.PartitionInfo) bool {
		return p.Partition == id
	})
	if at < 0 {
		return refuse(ErrUnknownTopicOrPartition, "%s has no partition %d", found.Name, id)
	}
	p := found.partitions[at]
	if p.Leader != 0 && len(p.Replicas) > 0 && p.Leader == p.Replicas[0] {
		return refuse(ErrElectionNotNeeded, "broker %d leads it already", p.Leader)
	}
	a.view.forget(found.Name)
	err := a.try(true, func(ctx context.Context) error {
		_, err := a.admin.TransferLeadership(ctx, found.Name, id, ropewalk.PreferredLeader)
		return err
	})
	if number, message, ok := numbered(err); ok &&
		(number == ErrLeaderNotAvailable || number == ErrInvalidReplicaAssignment) {
		return refuse(ErrPreferredLeaderNotAvailable, "%s", message)
	}
	return err
}

// partitionResult tells of one partition; an error that is not about it is returned.
func partitionResult(err error) (*PartitionResult, error) {
	if err == nil {
		return &PartitionResult{}, nil
	}
	number, message, ok := numbered(err)
	if !ok {
		return nil, mapError(err)
	}
	return &PartitionResult{ErrorCode: number, ErrorMessage: &message}, nil
}
