package sarama

// OffsetFetchResponse is what groups have committed. Blocks and Groups tell the same, whatever the
// Version.
type OffsetFetchResponse struct {
	// Version is that of Kafka's message.
	Version int16
	// ThrottleTimeMs is how long the broker asks to wait.
	ThrottleTimeMs int32
	// Blocks are the offsets by topic and partition.
	Blocks map[string]map[int32]*OffsetFetchResponseBlock
	// Err is ErrNoError when it worked.
	Err KError
	// Groups are the offsets by group.
	Groups []OffsetFetchResponseGroup
}

// OffsetFetchResponseBlock is what a group has committed for a partition.
type OffsetFetchResponseBlock struct {
	// Offset is the next one to read; -1: nothing was committed.
	Offset int64
	// LeaderEpoch is -1: it is not kept.
	LeaderEpoch int32
	// Metadata is what was committed beside the offset.
	Metadata string
	// Err is ErrNoError when it worked.
	Err KError
}

// OffsetFetchResponseGroup is what one group has committed.
type OffsetFetchResponseGroup struct {
	// GroupId is the group's name.
	GroupId string
	// Blocks are the offsets by topic and partition.
	Blocks map[string]map[int32]*OffsetFetchResponseBlock
	// Err is ErrNoError when it worked.
	Err KError
}

// firstWithGroups is the version of Kafka's message from which it names groups.
const firstWithGroups = 8

func addBlock(
	blocks *map[string]map[int32]*OffsetFetchResponseBlock, topic string, partition int32,
	block *OffsetFetchResponseBlock,
) {
	if *blocks == nil {
		*blocks = map[string]map[int32]*OffsetFetchResponseBlock{}
	}
	if (*blocks)[topic] == nil {
		(*blocks)[topic] = map[int32]*OffsetFetchResponseBlock{}
	}
	(*blocks)[topic][partition] = block
}

// AddBlock adds what was committed for a partition; from Version 8 on to the first group.
func (r *OffsetFetchResponse) AddBlock(
	topic string, partition int32, block *OffsetFetchResponseBlock,
) {
	if r.Version < firstWithGroups {
		addBlock(&r.Blocks, topic, partition, block)
		return
	}
	if len(r.Groups) == 0 {
		r.Groups = append(r.Groups, OffsetFetchResponseGroup{})
	}
	r.Groups[0].AddBlock(topic, partition, block)
}

// AddGroupBlock adds what a group has committed for a partition; below Version 8 for any group.
func (r *OffsetFetchResponse) AddGroupBlock(
	groupID string, topic string, partition int32, block *OffsetFetchResponseBlock,
) {
	if r.Version < firstWithGroups {
		r.AddBlock(topic, partition, block)
		return
	}
	group := r.GetGroup(groupID)
	if group == nil {
		r.Groups = append(r.Groups, OffsetFetchResponseGroup{GroupId: groupID})
		group = &r.Groups[len(r.Groups)-1]
	}
	group.AddBlock(topic, partition, block)
}

// GetBlock returns what was committed for a partition, from Version 8 on by the first group; nil
// when it is not told.
func (r *OffsetFetchResponse) GetBlock(topic string, partition int32) *OffsetFetchResponseBlock {
	if r.Version < firstWithGroups {
		return r.Blocks[topic][partition]
	}
	if len(r.Groups) == 0 {
		return nil
	}
	return r.Groups[0].GetBlock(topic, partition)
}

// GetGroup returns what a group has committed; nil when it is not told.
func (r *OffsetFetchResponse) GetGroup(groupID string) *OffsetFetchResponseGroup {
	for i := range r.Groups {
		if r.Groups[i].GroupId == groupID {
			return &r.Groups[i]
		}
	}
	return nil
}

// GetGroupBlock returns what a group has committed for a partition; nil when it is not told.
func (r *OffsetFetchResponse) GetGroupBlock(
	groupID string, topic string, partition int32,
) *OffsetFetchResponseBlock {
	if group := r.GetGroup(groupID); group != nil {
		return group.GetBlock(topic, partition)
	}
	return nil
}

// GroupError returns the error of the response, from Version 8 on that of the first group.
func (r *OffsetFetchResponse) GroupError() KError {
	if r.Version >= firstWithGroups && len(r.Groups) > 0 {
		return r.Groups[0].Err
	}
	return r.Err
}

// AddBlock adds what was committed for a partition.
func (g *OffsetFetchResponseGroup) AddBlock(
	topic string, partition int32, block *OffsetFetchResponseBlock,
) {
	addBlock(&g.Blocks, topic, partition, block)
}

// GetBlock returns what was committed for a partition; nil when it is not told.
func (g *OffsetFetchResponseGroup) GetBlock(
	topic string, partition int32,
) *OffsetFetchResponseBlock {
	return g.Blocks[topic][partition]
}

// OffsetAndMetadata is an offset to commit for a partition.
type OffsetAndMetadata struct {
	// Offset is the next one to read.
	Offset int64
	// Metadata is kept beside it.
	Metadata string
	// LeaderEpoch has no effect: an offset that a new leader does not have was never told. Use -1.
	LeaderEpoch int32
}

// AlterConsumerGroupOffsetsOptions is empty.
type AlterConsumerGroupOffsetsOptions struct{}

// OffsetCommitResponse is what became of a commit.
type OffsetCommitResponse struct {
	// Version is that of Kafka's message.
	Version int16
	// ThrottleTimeMs is how long the broker asks to wait.
	ThrottleTimeMs int32
	// Errors are those of each partition, ErrNoError where it worked.
	Errors map[string]map[int32]KError
}

// AddError adds what became of a partition.
func (r *OffsetCommitResponse) AddError(topic string, partition int32, kerror KError) {
	if r.Errors == nil {
		r.Errors = map[string]map[int32]KError{}
	}
	if r.Errors[topic] == nil {
		r.Errors[topic] = map[int32]KError{}
	}
	r.Errors[topic][partition] = kerror
}

// ListOffsetsOptions says which records count.
type ListOffsetsOptions struct {
	// IsolationLevel makes no difference: without transactions, all records are committed.
	IsolationLevel IsolationLevel
}

// OffsetResult is an offset that was asked for.
type OffsetResult struct {
	// Offset is the offset; -1 when no record is as new as the time.
	Offset int64
	// Timestamp is the time of the record there in milliseconds, for a query by time; else -1.
	Timestamp int64
	// LeaderEpoch is the epoch of the partition's leader.
	LeaderEpoch int32
	// Err is ErrNoError when it worked, as in sarama: compare, for it is not nil.
	Err error
}

// LeaveGroupResponse is what became of members that were removed.
type LeaveGroupResponse struct {
	// Version is that of Kafka's message.
	Version int16
	// ThrottleTime is how long the broker asks to wait, in milliseconds.
	ThrottleTime int32
	// Err is ErrNoError when the group is there.
	Err KError
	// Members are the members, in the order in which they were named.
	Members []MemberResponse
}

// MemberResponse is what became of one member.
type MemberResponse struct {
	// MemberId is the member's id; empty when it was named by its instance.
	MemberId string
	// GroupInstanceId is the name of a static member.
	GroupInstanceId *string
	// Err is ErrNoError when it was removed, and ErrUnknownMemberId when there is none.
	Err KError
}
