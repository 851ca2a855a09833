package sarama

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const (
	consumerProtocol = "consumer"
	// plannedByMembers stands before the name of a strategy that the members apply.
	plannedByMembers = "client:"
)

// groupStates are Kafka's names of the states.
var groupStates = map[string]string{
	"stable": "Stable", "rebalancing": "PreparingRebalance", "empty": "Empty",
}

func (a *clusterAdmin) ListConsumerGroups() (map[string]string, error) {
	groups := map[string]string{}
	err := a.query(func(ctx context.Context) error {
		clear(groups)
		for group, err := range a.admin.Groups(ctx, "") {
			if err != nil {
				return err
			}
			groups[group.Name] = consumerProtocol
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return groups, nil
}

func (a *clusterAdmin) DescribeConsumerGroups(groups []string) ([]*GroupDescription, error) {
	var all []*GroupDescription
	for _, name := range groups {
		var found *ropewalk.GroupDescription
		err := a.try(true, func(ctx context.Context) (err error) {
			found, err = a.admin.GetGroup(ctx, name)
			return err
		})
		if errors.Is(err, ropewalk.ReasonGroupNotFound) {
			all = append(all, &GroupDescription{
				GroupId: name, State: "Dead", Members: map[string]*GroupMemberDescription{},
			})
			continue
		}
		if err != nil {
			number, _, ok := numbered(err)
			if !ok {
				return nil, mapError(err)
			}
			all = append(all, &GroupDescription{GroupId: name, Err: number, ErrorCode: int16(number)})
			continue
		}
		all = append(all, groupDescription(found))
	}
	return all, nil
}

func groupDescription(found *ropewalk.GroupDescription) *GroupDescription {
	group := &GroupDescription{
		GroupId: found.Name, ProtocolType: consumerProtocol,
		Protocol: strings.TrimPrefix(found.Strategy, plannedByMembers),
		State:    groupStates[found.State], Members: map[string]*GroupMemberDescription{},
	}
	if group.State == "" {
		group.State = strings.ToUpper(found.State[:1]) + found.State[1:]
	}
	for _, m := range found.Members {
		topics := map[string][]int32{}
		for _, at := range m.Assigned {
			topics[at.Topic] = append(topics[at.Topic], at.Partition)
		}
		clientID, userData := splitMemberName(m.ClientID)
		member := &GroupMemberDescription{
			MemberId: m.ID, ClientId: clientID, ClientHost: m.Host,
			MemberMetadata:   encodeMetadata(m.Subscriptions, userData),
			MemberAssignment: encodeAssignment(topics),
		}
		if m.Instance != "" {
			member.GroupInstanceId = &m.Instance
		}
		group.Members[m.ID] = member
	}
	return group
}

func (a *clusterAdmin) ListConsumerGroupOffsets(
	group string, topicPartitions map[string][]int32,
) (*OffsetFetchResponse, error) {
	found, err := a.committed(group, topicPartitions)
	if err != nil {
		return nil, err
	}
	return &OffsetFetchResponse{
		Version: firstWithGroups - 1, Blocks: found.Blocks, Groups: []OffsetFetchResponseGroup{*found},
	}, nil
}

func (a *clusterAdmin) ListConsumerGroupOffsetsBatch(
	groupTopics map[string]map[string][]int32,
) (map[string]*OffsetFetchResponseGroup, error) {
	all := map[string]*OffsetFetchResponseGroup{}
	for _, group := range slices.Sorted(maps.Keys(groupTopics)) {
		found, err := a.committed(group, groupTopics[group])
		var number KError
		if errors.As(err, &number) {
			found, err = &OffsetFetchResponseGroup{GroupId: group, Err: number}, nil
		}
		if err != nil {
			return nil, err
		}
		all[group] = found
	}
	return all, nil
}

// committed tells what a group has committed for these partitions, or for all when none is named.
func (a *clusterAdmin) committed(
	group string, topicPartitions map[string][]int32,
) (*OffsetFetchResponseGroup, error) {
	offsets, err := a.committedOf(group, slices.Sorted(maps.Keys(topicPartitions))...)
	if isNoTopic(err) {
		// One topic that is not there shall not hide what is committed for the others.
		offsets, err = a.committedOf(group)
	}
	if err != nil && !errors.Is(err, ropewalk.ReasonGroupNotFound) {
		return nil, mapAdminError(err)
	}
	found := &OffsetFetchResponseGroup{
		GroupId: group, Blocks: map[string]map[int32]*OffsetFetchResponseBlock{},
	}
	for topic, partitions := range topicPartitions {
		for _, partition := range partitions {
			found.AddBlock(topic, partition, &OffsetFetchResponseBlock{Offset: -1, LeaderEpoch: -1})
		}
	}
	for _, o := range offsets {
		if topicPartitions != nil && found.GetBlock(o.Topic, o.Partition) == nil {
			continue
		}
		found.AddBlock(o.Topic, o.Partition, &OffsetFetchResponseBlock{
			Offset: o.Offset, LeaderEpoch: -1, Metadata: o.Metadata,
		})
	}
	return found, nil
}

// committedOf tells what a group has committed for topics, or for all when none is named.
func (a *clusterAdmin) committedOf(
	group string, topics ...string,
) (offsets []ropewalk.CommittedOffset, err error) {
	err = a.try(true, func(ctx context.Context) (err error) {
		offsets, err = a.admin.GetCommittedOffsets(ctx, group, topics...)
		return err
	})
	return offsets, err
}

// isNoTopic reports whether a topic or partition is not there, which says nothing of others.
func isNoTopic(err error) bool {
	return errors.Is(err, ropewalk.ReasonTopicNotFound) ||
		errors.Is(err, ropewalk.ReasonPartitionNotFound)
}

func (a *clusterAdmin) AlterConsumerGroupOffsets(
	group string, offsets map[string]map[int32]OffsetAndMetadata, _ *AlterConsumerGroupOffsetsOptions,
) (*OffsetCommitResponse, error) {
	if len(offsets) == 0 {
		return nil, ConfigurationError("no offsets provided")
	}
	var wanted []ropewalk.CommittedOffset
	for topic, partitions := range offsets {
		for partition, o := range partitions {
			wanted = append(wanted, ropewalk.CommittedOffset{
				TopicPartition: ropewalk.TopicPartition{Topic: topic, Partition: partition},
				Offset:         o.Offset, Metadata: o.Metadata,
			})
		}
	}
	response := &OffsetCommitResponse{}
	// All or none are committed together: what cannot be shall not keep the others.
	results := commitEach(wanted, func(some []ropewalk.CommittedOffset) error {
		return a.commit(group, some)
	})
	for i, o := range wanted {
		own := results[i].Err
		number, _, ok := numbered(own)
		if own != nil && !ok {
			return nil, mapError(own)
		}
		if errors.Is(own, ropewalk.ReasonGroupNotEmpty) {
			number = ErrUnknownMemberId
		}
		response.AddError(o.Topic, o.Partition, number)
	}
	return response, nil
}

func (a *clusterAdmin) commit(group string, offsets []ropewalk.CommittedOffset) error {
	return a.try(true, func(ctx context.Context) error {
		return a.admin.CommitOffset(ctx, group, offsets...)
	})
}

func (a *clusterAdmin) DeleteConsumerGroupOffset(
	group string, topic string, partition int32,
) error {
	return a.query(func(ctx context.Context) error {
		return a.admin.DeleteCommittedOffsets(ctx, group,
			ropewalk.TopicPartition{Topic: topic, Partition: partition})
	})
}

func (a *clusterAdmin) DeleteConsumerGroup(group string) error {
	return a.change(func(ctx context.Context) error { return a.admin.DeleteGroup(ctx, group) })
}

func (a *clusterAdmin) RemoveMemberFromConsumerGroup(
	group string, groupInstanceIds []string,
) (*LeaveGroupResponse, error) {
	response := &LeaveGroupResponse{Version: 3}
	for _, instance := range groupInstanceIds {
		err := a.try(false, func(ctx context.Context) error {
			return a.admin.RemoveGroupInstance(ctx, group, instance)
		})
		number, _, ok := numbered(err)
		switch {
		case err != nil && !ok:
			return nil, mapError(err)
		case errors.Is(err, ropewalk.ReasonGroupNotFound), errors.Is(err, ropewalk.ReasonInvalidField):
			number = ErrUnknownMemberId
		}
		response.Members = append(response.Members,
			MemberResponse{GroupInstanceId: &instance, Err: number})
	}
	return response, nil
}
