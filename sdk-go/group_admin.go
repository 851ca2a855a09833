package ropewalk

import (
	"context"
	"iter"
	"strings"
	"time"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A GroupSummary is a consumer group in a list.
type GroupSummary struct {
	Name string
	// State is empty, stable or rebalancing.
	State string
	// Members is how many it has.
	Members int32
}

// A GroupMember is a member of a consumer group.
type GroupMember struct {
	// ID is a UUID.
	ID string
	// Instance is the name of a static member.
	Instance string
	// ClientID is what the member calls itself, and Host where it connects from.
	ClientID, Host string
	// Subscriptions are the topics and patterns that it reads.
	Subscriptions []string
	// Assigned is what it has.
	Assigned []TopicPartition
	// LostUntil is until when the group waits for it, if its connection broke.
	LostUntil time.Time
}

// A GroupOffset is how far a consumer group has read a partition.
type GroupOffset struct {
	TopicPartition
	// Committed is the next offset to read; -1: nothing was committed.
	Committed int64
	Metadata  string
	// HighWatermark is the offset after the last record; -1: the partition has no leader.
	HighWatermark int64
	// Lag is how many offsets are not committed yet; -1: the partition has no leader.
	Lag int64
	// MemberID is the member that has the partition; empty: nobody.
	MemberID string
}

// A GroupDescription tells of a consumer group.
type GroupDescription struct {
	Name string
	// State is empty, stable or rebalancing.
	State      string
	Generation int64
	Strategy   string
	// Members are in the order in which they joined.
	Members []GroupMember
	// Moves are what is not where it is to be.
	Moves []GroupMove
	// Offsets are by topic and partition.
	Offsets []GroupOffset
}

func groupState(state pb.ConsumerGroupState) string {
	return strings.ToLower(strings.TrimPrefix(state.String(), "CONSUMER_GROUP_STATE_"))
}

// Groups ranges over the consumer groups whose name begins with prefix, by name. The loop ends after an
// error, which it gets.
func (a *Admin) Groups(ctx context.Context, prefix string) iter.Seq2[GroupSummary, error] {
	return func(yield func(GroupSummary, error) bool) {
		request := &pb.ListConsumerGroupsRequest{NamePrefix: prefix}
		for {
			page, err := call(ctx, a.client, "list groups", true,
				func(ctx context.Context) (*pb.ListConsumerGroupsResponse, error) {
					return a.client.admins.ListConsumerGroups(ctx, request)
				})
			if err != nil {
				yield(GroupSummary{}, err)
				return
			}
			for _, g := range page.GetGroups() {
				summary := GroupSummary{g.GetGroup(), groupState(g.GetState()), g.GetMemberCount()}
				if !yield(summary, nil) {
					return
				}
			}
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				return
			}
		}
	}
}

// groupFrom is a group without its offsets.
func groupFrom(g *pb.ConsumerGroup) *GroupDescription {
	described := &GroupDescription{
		Name: g.GetGroup(), State: groupState(g.GetState()),
		Generation: g.GetGeneration(), Strategy: g.GetStrategy(),
	}
	for _, m := range g.GetMembers() {
		member := GroupMember{
			ID: m.GetMemberId(), Instance: m.GetInstanceName(), ClientID: m.GetClientId(),
			Host: m.GetHost(), Subscriptions: m.GetSubscriptions(),
		}
		if m.LostUntil != nil {
			member.LostUntil = m.LostUntil.AsTime()
		}
		for _, p := range m.GetAssigned() {
			member.Assigned = append(member.Assigned, TopicPartition{p.GetTopic(), p.GetPartition()})
		}
		described.Members = append(described.Members, member)
	}
	for _, m := range g.GetMoves() {
		move := GroupMove{
			TopicPartition: TopicPartition{m.GetTopic(), m.GetPartition()},
			From:           m.GetFromMemberId(), To: m.GetToMemberId(),
		}
		if m.Deadline != nil {
			move.Deadline = m.Deadline.AsTime()
		}
		described.Moves = append(described.Moves, move)
	}
	return described
}

// GetGroup describes a consumer group. It fails with [ReasonGroupNotFound] for one that has neither
// members nor committed offsets.
func (a *Admin) GetGroup(ctx context.Context, name string) (*GroupDescription, error) {
	answer, err := call(ctx, a.client, "get group", true,
		func(ctx context.Context) (*pb.GetConsumerGroupResponse, error) {
			return a.client.admins.GetConsumerGroup(ctx, &pb.GetConsumerGroupRequest{Group: name})
		})
	if err != nil {
		return nil, err
	}
	described := groupFrom(answer.GetGroup())
	orNone := func(n *int64) int64 {
		if n == nil {
			return -1
		}
		return *n
	}
	for _, o := range answer.GetOffsets() {
		described.Offsets = append(described.Offsets, GroupOffset{
			TopicPartition: TopicPartition{o.GetTopic(), o.GetPartition()},
			Committed:      orNone(o.CommittedOffset),
			Metadata:       o.GetMetadata(),
			HighWatermark:  orNone(o.HighWatermark),
			Lag:            orNone(o.Lag),
			MemberID:       o.GetMemberId(),
		})
	}
	return described, nil
}

// DeleteGroup deletes a consumer group and what it has committed. It fails with [ReasonGroupNotEmpty]
// while the group has members.
func (a *Admin) DeleteGroup(ctx context.Context, name string) error {
	_, err := call(ctx, a.client, "delete group", false,
		func(ctx context.Context) (*pb.DeleteConsumerGroupResponse, error) {
			return a.client.admins.DeleteConsumerGroup(ctx, &pb.DeleteConsumerGroupRequest{Group: name})
		})
	return err
}

// RemoveGroupMember removes a member of a consumer group by its id, as if it had left for good: its
// partitions go to the others, and a stream that it has open ends with [ReasonMemberFenced]. It
// fails with [ReasonInvalidField] when the group has no such member.
func (a *Admin) RemoveGroupMember(ctx context.Context, group, memberID string) error {
	return a.removeMember(ctx, &pb.RemoveConsumerGroupMemberRequest{
		Group:  group,
		Member: &pb.RemoveConsumerGroupMemberRequest_MemberId{MemberId: memberID},
	})
}

// RemoveGroupInstance is [Admin.RemoveGroupMember] for a static member, by its instance name.
func (a *Admin) RemoveGroupInstance(ctx context.Context, group, instance string) error {
	return a.removeMember(ctx, &pb.RemoveConsumerGroupMemberRequest{
		Group:  group,
		Member: &pb.RemoveConsumerGroupMemberRequest_InstanceName{InstanceName: instance},
	})
}

func (a *Admin) removeMember(
	ctx context.Context, request *pb.RemoveConsumerGroupMemberRequest,
) error {
	_, err := call(ctx, a.client, "remove member", false,
		func(ctx context.Context) (*pb.RemoveConsumerGroupMemberResponse, error) {
			return a.client.admins.RemoveConsumerGroupMember(ctx, request)
		})
	return err
}

// DeleteCommittedOffsets deletes committed offsets of a consumer group. It fails with
// [ReasonGroupNotEmpty] while the group has members.
func (a *Admin) DeleteCommittedOffsets(
	ctx context.Context, group string, partitions ...TopicPartition,
) error {
	request := &pb.DeleteCommittedOffsetsRequest{Group: group}
	for _, tp := range partitions {
		request.Partitions = append(request.Partitions,
			&pb.GroupPartition{Topic: tp.Topic, Partition: tp.Partition})
	}
	_, err := call(ctx, a.client, "delete committed offsets", true,
		func(ctx context.Context) (*pb.DeleteCommittedOffsetsResponse, error) {
			return a.client.admins.DeleteCommittedOffsets(ctx, request)
		})
	return err
}
