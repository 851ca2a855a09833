package sarama

// The names of the strategies that are there.
const (
	// RangeBalanceStrategyName is the name of the strategy of NewBalanceStrategyRange.
	RangeBalanceStrategyName = "range"

	// RoundRobinBalanceStrategyName is the name of the strategy of NewBalanceStrategyRoundRobin.
	RoundRobinBalanceStrategyName = "roundrobin"

	// StickyBalanceStrategyName is the name of the strategy of NewBalanceStrategySticky.
	StickyBalanceStrategyName = "sticky"

	// CooperativeStickyBalanceStrategyName is the name of the strategy of
	// NewBalanceStrategyCooperativeSticky.
	CooperativeStickyBalanceStrategyName = "cooperative-sticky"
)

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
//
// The broker has those of this package, and shares by itself: their Plan is not called, but works.
// A strategy of the program's own plans within one of the members, which the group asks for it;
// when that takes longer than 5 s, or the plan leaves out a partition or names one twice, the
// broker shares as the sticky strategy does. Of several strategies, the first of each member counts
// as its wish, and what most members wish for holds.
type BalanceStrategy interface {
	// Name is what members that know the strategy call it: at most 249 bytes.
	Name() string

	// Plan shares partitions, given as topic and partitions, among members, given by their ids.
	Plan(
		members map[string]ConsumerGroupMemberMetadata, topics map[string][]int32,
	) (BalanceStrategyPlan, error)

	// AssignmentData is what a member is told beside its partitions, and what it tells strategies
	// then instead of Consumer.Group.Member.UserData, unless it is nil. It must depend on nothing but
	// its parameters: each member that needs it calls it.
	AssignmentData(memberID string, topics map[string][]int32, generationID int32) ([]byte, error)
}

// SubscriptionUserDataBalanceStrategy is a strategy that makes what it is told of a member instead
// of Consumer.Group.Member.UserData.
type SubscriptionUserDataBalanceStrategy interface {
	BalanceStrategy

	// SubscriptionUserData is called with the member's topics when it joins, once, as a member stays
	// one over rebalances. An error is logged, and Consumer.Group.Member.UserData counts.
	SubscriptionUserData(topics []string) ([]byte, error)
}

// OnAssignmentBalanceStrategy is a strategy that hears what its member has got.
type OnAssignmentBalanceStrategy interface {
	BalanceStrategy

	// OnAssignment is called before the claims of a session begin, and before Setup; with a
	// cooperative strategy also at each change.
	OnAssignment(assignment *ConsumerGroupMemberAssignment, generationID int32)
}

// ConsumerGroupMemberMetadata is what a strategy knows of a member.
type ConsumerGroupMemberMetadata struct {
	// Version is 2: what follows is there.
	Version int16
	// Topics are what it reads.
	Topics []string
	// UserData is its Consumer.Group.Member.UserData, or what its strategy has made instead.
	UserData []byte
	// OwnedPartitions are what it had so far, by topic.
	OwnedPartitions []*OwnedPartition
	// GenerationID is the generation of that.
	GenerationID int32
	// RackID is not set.
	RackID *string
}

// OwnedPartition is what a member has of a topic before it is planned anew.
type OwnedPartition struct {
	Topic      string
	Partitions []int32
}

// ConsumerGroupMemberAssignment is what a member has got.
type ConsumerGroupMemberAssignment struct {
	// Version is 0.
	Version int16
	// Topics are its partitions, by topic.
	Topics map[string][]int32
	// UserData is what AssignmentData of its strategy gives.
	UserData []byte
}

// noAssignmentData is of strategies that tell members nothing.
type noAssignmentData struct{}

// AssignmentData returns nil.
func (noAssignmentData) AssignmentData(string, map[string][]int32, int32) ([]byte, error) {
	return nil, nil
}
