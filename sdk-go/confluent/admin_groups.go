package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A ConsumerGroupState says how a group is.
type ConsumerGroupState int

const (
	// ConsumerGroupStateUnknown: in a way that is not known here.
	ConsumerGroupStateUnknown ConsumerGroupState = 0
	// ConsumerGroupStatePreparingRebalance: partitions are moving.
	ConsumerGroupStatePreparingRebalance ConsumerGroupState = 1
	// ConsumerGroupStateCompletingRebalance does not occur.
	ConsumerGroupStateCompletingRebalance ConsumerGroupState = 2
	// ConsumerGroupStateStable: each partition is where it is to be.
	ConsumerGroupStateStable ConsumerGroupState = 3
	// ConsumerGroupStateDead: there is no such group.
	ConsumerGroupStateDead ConsumerGroupState = 4
	// ConsumerGroupStateEmpty: it has committed offsets, and no members.
	ConsumerGroupStateEmpty ConsumerGroupState = 5
)

var stateNames = []string{
	"Unknown", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty",
}

// String returns the state's name.
func (t ConsumerGroupState) String() string {
	if t < 0 || int(t) >= len(stateNames) {
		return stateNames[0]
	}
	return stateNames[t]
}

// ConsumerGroupStateFromString returns the state of a name; ConsumerGroupStateUnknown for others.
// The error is always nil.
func ConsumerGroupStateFromString(stateString string) (ConsumerGroupState, error) {
	for i, name := range stateNames {
		if strings.EqualFold(name, stateString) {
			return ConsumerGroupState(i), nil
		}
	}
	return ConsumerGroupStateUnknown, nil
}

func groupState(state string) ConsumerGroupState {
	switch state {
	case "empty":
		return ConsumerGroupStateEmpty
	case "stable":
		return ConsumerGroupStateStable
	case "rebalancing":
		return ConsumerGroupStatePreparingRebalance
	}
	return ConsumerGroupStateUnknown
}

// A ConsumerGroupType says by which protocol a group works. All are of type Consumer: brokers
// assign.
type ConsumerGroupType int

const (
	// ConsumerGroupTypeUnknown: by another one.
	ConsumerGroupTypeUnknown ConsumerGroupType = 0
	// ConsumerGroupTypeConsumer: brokers assign.
	ConsumerGroupTypeConsumer ConsumerGroupType = 1
	// ConsumerGroupTypeClassic: members assign.
	ConsumerGroupTypeClassic ConsumerGroupType = 2
)

// String returns Unknown, Consumer or Classic.
func (t ConsumerGroupType) String() string {
	switch t {
	case ConsumerGroupTypeConsumer:
		return "Consumer"
	case ConsumerGroupTypeClassic:
		return "Classic"
	}
	return "Unknown"
}

// ConsumerGroupTypeFromString returns the type of a name; ConsumerGroupTypeUnknown for others.
func ConsumerGroupTypeFromString(typeString string) ConsumerGroupType {
	for t := ConsumerGroupTypeConsumer; t <= ConsumerGroupTypeClassic; t++ {
		if strings.EqualFold(t.String(), typeString) {
			return t
		}
	}
	return ConsumerGroupTypeUnknown
}

// A ConsumerGroupListing is a group in a list.
type ConsumerGroupListing struct {
	// GroupID is its name.
	GroupID string
	// IsSimpleConsumerGroup is false: a group that never had members is not told from others.
	IsSimpleConsumerGroup bool
	// State says how it is, Type by which protocol it works.
	State ConsumerGroupState
	Type  ConsumerGroupType
}

// ListConsumerGroupsResult are groups.
type ListConsumerGroupsResult struct {
	// Valid are those that were found, Errors what went wrong meanwhile.
	Valid  []ConsumerGroupListing
	Errors []error
}

// ListConsumerGroups lists the groups, by name.
func (a *AdminClient) ListConsumerGroups(
	ctx context.Context, options ...ListConsumerGroupsAdminOption,
) (ListConsumerGroupsResult, error) {
	var result ListConsumerGroupsResult
	o, err := optionsOf(options)
	if err != nil {
		return result, err
	}
	ctx, admin, end, err := a.begin(ctx, o)
	if err != nil {
		return result, err
	}
	defer end()
	for group, err := range admin.Groups(ctx, "") {
		if err != nil {
			return result, asError(err)
		}
		listing := ConsumerGroupListing{
			GroupID: group.Name, State: groupState(group.State), Type: ConsumerGroupTypeConsumer,
		}
		if (len(o.states) == 0 || slices.Contains(o.states, listing.State)) &&
			(len(o.types) == 0 || slices.Contains(o.types, listing.Type)) {
			result.Valid = append(result.Valid, listing)
		}
	}
	return result, nil
}

// A MemberAssignment is what a member has.
type MemberAssignment struct {
	// TopicPartitions are the partitions.
	TopicPartitions []TopicPartition
}

// A MemberDescription describes a member of a group.
type MemberDescription struct {
	// ClientID is what it calls itself, GroupInstanceID the name of a static one, and ConsumerID
	// its id.
	ClientID        string
	GroupInstanceID string
	ConsumerID      string
	// Host is where it connects from.
	Host string
	// Assignment is what it has, TargetAssignment what it is to have.
	Assignment       MemberAssignment
	TargetAssignment *MemberAssignment
}

// A ConsumerGroupDescription describes a group.
type ConsumerGroupDescription struct {
	// GroupID is its name.
	GroupID string
	// Error says why nothing is known of it; its code is ErrNoError otherwise.
	Error Error
	// IsSimpleConsumerGroup is false.
	IsSimpleConsumerGroup bool
	// PartitionAssignor is the strategy: range, round-robin or sticky, or one of its members' own.
	PartitionAssignor string
	// State says how it is, Type by which protocol it works.
	State ConsumerGroupState
	Type  ConsumerGroupType
	// Coordinator has the ID -1: which broker looks after the group is not told.
	Coordinator Node
	// Members are in the order in which they joined.
	Members []MemberDescription
	// AuthorizedOperations is nil always: there is no authorization.
	AuthorizedOperations []ACLOperation
}

// DescribeConsumerGroupsResult describes groups.
type DescribeConsumerGroupsResult struct {
	// ConsumerGroupDescriptions are in the order in which the groups were named.
	ConsumerGroupDescriptions []ConsumerGroupDescription
}

// DescribeConsumerGroups describes groups. One that does not exist is Dead, and has
// ErrGroupIDNotFound.
func (a *AdminClient) DescribeConsumerGroups(
	ctx context.Context, groups []string, options ...DescribeConsumerGroupsAdminOption,
) (DescribeConsumerGroupsResult, error) {
	var result DescribeConsumerGroupsResult
	ctx, admin, end, err := beginWith(ctx, a, options)
	if err != nil {
		return result, err
	}
	defer end()
	for _, name := range groups {
		result.ConsumerGroupDescriptions = append(result.ConsumerGroupDescriptions,
			describedGroup(ctx, admin, name))
	}
	return result, nil
}

func describedGroup(
	ctx context.Context, admin *ropewalk.Admin, name string,
) ConsumerGroupDescription {
	d := ConsumerGroupDescription{
		GroupID: name, Type: ConsumerGroupTypeConsumer, Coordinator: Node{ID: -1},
	}
	group, err := admin.GetGroup(ctx, name)
	if err != nil {
		if d.Error = asError(err); errors.Is(err, ropewalk.ReasonGroupNotFound) {
			d.State = ConsumerGroupStateDead
		}
		return d
	}
	d.PartitionAssignor, d.State = group.Strategy, groupState(group.State)
	for _, m := range group.Members {
		member := MemberDescription{
			ClientID: m.ClientID, GroupInstanceID: m.Instance, ConsumerID: m.ID, Host: m.Host,
			TargetAssignment: &MemberAssignment{},
		}
		leaving := map[ropewalk.TopicPartition]bool{}
		for _, move := range group.Moves {
			if move.From == m.ID {
				leaving[move.TopicPartition] = true
			}
			if move.To == m.ID {
				member.TargetAssignment.add(move.TopicPartition)
			}
		}
		for _, at := range m.Assigned {
			member.Assignment.add(at)
			if !leaving[at] {
				member.TargetAssignment.add(at)
			}
		}
		d.Members = append(d.Members, member)
	}
	return d
}

func (m *MemberAssignment) add(at ropewalk.TopicPartition) {
	m.TopicPartitions = append(m.TopicPartitions, partitionAt(at, OffsetInvalid))
}

// A ConsumerGroupResult is what became of a group.
type ConsumerGroupResult struct {
	// Group is its name.
	Group string
	// Error says why nothing did; its code is ErrNoError otherwise.
	Error Error
}

// String is the name, with the error behind it.
func (g ConsumerGroupResult) String() string {
	if g.Error.code == ErrNoError {
		return g.Group
	}
	return fmt.Sprintf("%s (%s)", g.Group, g.Error)
}

// DeleteConsumerGroupsResult is what became of groups.
type DeleteConsumerGroupsResult struct {
	// ConsumerGroupResults are in the order in which the groups were named.
	ConsumerGroupResults []ConsumerGroupResult
}

// DeleteConsumerGroups deletes groups, with what they have committed. One that has members has
// ErrNonEmptyGroup.
func (a *AdminClient) DeleteConsumerGroups(
	ctx context.Context, groups []string, options ...DeleteConsumerGroupsAdminOption,
) (DeleteConsumerGroupsResult, error) {
	var result DeleteConsumerGroupsResult
	ctx, admin, end, err := beginWith(ctx, a, options)
	if err != nil {
		return result, err
	}
	defer end()
	for _, name := range groups {
		result.ConsumerGroupResults = append(result.ConsumerGroupResults,
			ConsumerGroupResult{name, asError(admin.DeleteGroup(ctx, name))})
	}
	return result, nil
}

// ListConsumerGroupOffsetsResult is what groups have committed.
type ListConsumerGroupOffsetsResult struct {
	// ConsumerGroupsTopicPartitions has each group with its offsets.
	ConsumerGroupsTopicPartitions []ConsumerGroupTopicPartitions
}

// ListConsumerGroupOffsets returns what groups have committed: of the partitions that are named,
// OffsetInvalid where nothing is; of a group without any, all that it has. librdkafka takes one
// group at a time.
func (a *AdminClient) ListConsumerGroupOffsets(
	ctx context.Context, groupsPartitions []ConsumerGroupTopicPartitions,
	options ...ListConsumerGroupOffsetsAdminOption,
) (ListConsumerGroupOffsetsResult, error) {
	var result ListConsumerGroupOffsetsResult
	ctx, admin, end, err := beginWith(ctx, a, options)
	if err != nil {
		return result, err
	}
	defer end()
	for _, g := range groupsPartitions {
		if err := checkPartitions(g.Partitions); err != nil {
			return result, err
		}
		offsets, err := admin.GetCommittedOffsets(ctx, g.Group)
		if err != nil {
			return result, asError(err)
		}
		result.ConsumerGroupsTopicPartitions = append(result.ConsumerGroupsTopicPartitions,
			ConsumerGroupTopicPartitions{g.Group, picked(offsets, g.Partitions)})
	}
	return result, nil
}

// picked are the offsets of some partitions, or all.
func picked(offsets []ropewalk.CommittedOffset, partitions []TopicPartition) []TopicPartition {
	all := shown(offsets)
	if partitions == nil {
		return all
	}
	list := make([]TopicPartition, len(partitions))
	for i, tp := range partitions {
		list[i] = partitionAt(tp.place(), OffsetInvalid)
		for _, found := range all {
			if found.place() == tp.place() {
				list[i] = found
			}
		}
	}
	return list
}

// AlterConsumerGroupOffsetsResult is what became of offsets.
type AlterConsumerGroupOffsetsResult struct {
	// ConsumerGroupsTopicPartitions has each group with its offsets, and their errors.
	ConsumerGroupsTopicPartitions []ConsumerGroupTopicPartitions
}

// AlterConsumerGroupOffsets commits offsets for groups, all of a group or none. Those of one that
// has members have an Error. librdkafka takes one group at a time.
func (a *AdminClient) AlterConsumerGroupOffsets(
	ctx context.Context, groupsPartitions []ConsumerGroupTopicPartitions,
	options ...AlterConsumerGroupOffsetsAdminOption,
) (AlterConsumerGroupOffsetsResult, error) {
	var result AlterConsumerGroupOffsetsResult
	ctx, admin, end, err := beginWith(ctx, a, options)
	if err != nil {
		return result, err
	}
	defer end()
	for _, g := range groupsPartitions {
		if err := checkPartitions(g.Partitions); err != nil {
			return result, err
		}
		offsets := make([]ropewalk.CommittedOffset, len(g.Partitions))
		for i, tp := range g.Partitions {
			if tp.Offset < 0 {
				return result, errorf(ErrInvalidArg, "%v is no offset to commit", tp)
			}
			offsets[i] = committable(tp)
		}
		err := toError(admin.CommitOffset(ctx, g.Group, offsets...))
		list := shown(offsets)
		for i := range list {
			list[i].Error = err
		}
		result.ConsumerGroupsTopicPartitions = append(result.ConsumerGroupsTopicPartitions,
			ConsumerGroupTopicPartitions{g.Group, list})
	}
	return result, nil
}
