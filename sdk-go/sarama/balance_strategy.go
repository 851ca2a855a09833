package sarama

import "slices"

// RangeBalanceStrategyName is the name of the strategy of NewBalanceStrategyRange.
const RangeBalanceStrategyName = "range"

// BalanceStrategyPlan says who is to have what: member, topic, partitions.
type BalanceStrategyPlan map[string]map[string][]int32

// Add gives partitions of a topic to a member.
func (p BalanceStrategyPlan) Add(memberID, topic string, partitions ...int32) {
	if len(partitions) == 0 {
		return
	}
	if p[memberID] == nil {
		p[memberID] = map[string][]int32{}
	}
	p[memberID][topic] = append(p[memberID][topic], partitions...)
}

// BalanceStrategy shares partitions among the members of a group.
type BalanceStrategy interface {
	// Name is what members that know the strategy call it.
	Name() string

	// Plan shares partitions, given as topic and partitions, among members.
	Plan(
		members map[string]ConsumerGroupMemberMetadata, topics map[string][]int32,
	) (BalanceStrategyPlan, error)

	// AssignmentData is what a member is told beside its partitions.
	AssignmentData(memberID string, topics map[string][]int32, generationID int32) ([]byte, error)
}

// ConsumerGroupMemberMetadata is what a strategy knows of a member.
type ConsumerGroupMemberMetadata struct {
	Version         int16
	Topics          []string
	UserData        []byte
	OwnedPartitions []*OwnedPartition
	GenerationID    int32
	RackID          *string
}

// OwnedPartition is what a member has of a topic before it is planned anew.
type OwnedPartition struct {
	Topic      string
	Partitions []int32
}

// NewBalanceStrategyRange has each member get a range of neighbouring partitions of each topic that
// it reads. Where they do not come out even, the first members, by id, get one more.
func NewBalanceStrategyRange() BalanceStrategy { return rangeStrategy{} }

type rangeStrategy struct{}

func (rangeStrategy) Name() string { return RangeBalanceStrategyName }

func (rangeStrategy) Plan(
	members map[string]ConsumerGroupMemberMetadata, topics map[string][]int32,
) (BalanceStrategyPlan, error) {
	plan := BalanceStrategyPlan{}
	for topic, partitions := range topics {
		var readers []string
		for id, member := range members {
			if slices.Contains(member.Topics, topic) {
				readers = append(readers, id)
			}
		}
		slices.Sort(readers)
		for i, id := range readers {
			count := len(partitions) / (len(readers) - i)
			if len(partitions)%(len(readers)-i) > 0 {
				count++
			}
			plan.Add(id, topic, partitions[:count]...)
			partitions = partitions[count:]
		}
	}
	return plan, nil
}

func (rangeStrategy) AssignmentData(string, map[string][]int32, int32) ([]byte, error) {
	return nil, nil
}
