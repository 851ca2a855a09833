package sarama_test

import (
	"fmt"
	"log"
	"maps"
	"slices"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// byRegion gives the partitions of each topic to the members of a region in turn: those of another
// one stand by. Members say in their user data where they are.
type byRegion struct{ region string }

// What a strategy can have beside Name, Plan and AssignmentData.
var (
	_ sarama.BalanceStrategy                     = byRegion{}
	_ sarama.SubscriptionUserDataBalanceStrategy = byRegion{}
	_ sarama.OnAssignmentBalanceStrategy         = byRegion{}
	_ sarama.RebalanceProtocolBalanceStrategy    = byRegion{}
)

func (byRegion) Name() string { return "by-region" }

func (b byRegion) Plan(
	members map[string]sarama.ConsumerGroupMemberMetadata, topics map[string][]int32,
) (sarama.BalanceStrategyPlan, error) {
	var here []string
	for _, id := range slices.Sorted(maps.Keys(members)) {
		if string(members[id].UserData) == b.region {
			here = append(here, id)
		}
	}
	if len(here) == 0 {
		return nil, fmt.Errorf("no member is in %s", b.region)
	}
	plan := sarama.BalanceStrategyPlan{}
	for topic, partitions := range topics {
		for i, partition := range partitions {
			plan.Add(here[i%len(here)], topic, partition)
		}
	}
	return plan, nil
}

// AssignmentData has nothing to add: what the member has said of itself stays.
func (byRegion) AssignmentData(string, map[string][]int32, int32) ([]byte, error) {
	return nil, nil
}

// SubscriptionUserData is what the member says of itself.
func (b byRegion) SubscriptionUserData([]string) ([]byte, error) { return []byte(b.region), nil }

// OnAssignment is called with what the member has got.
func (b byRegion) OnAssignment(got *sarama.ConsumerGroupMemberAssignment, generation int32) {
	log.Printf("%s has %v in generation %d", b.region, got.Topics, generation)
}

// SupportedProtocols has sessions end when partitions move.
func (byRegion) SupportedProtocols() []sarama.RebalanceProtocol {
	return []sarama.RebalanceProtocol{sarama.RebalanceProtocolEager}
}

// A strategy of the program's own.
func ExampleBalanceStrategy() {
	config := sarama.NewConfig()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{byRegion{"north"}}
	if err := config.Validate(); err != nil {
		log.Fatal(err)
	}
	// What it plans, as it is to be tested:
	plan, err := byRegion{"north"}.Plan(map[string]sarama.ConsumerGroupMemberMetadata{
		"a": {Topics: []string{"orders"}, UserData: []byte("north")},
		"b": {Topics: []string{"orders"}, UserData: []byte("south")},
		"c": {
			Topics: []string{"orders"}, UserData: []byte("north"),
			OwnedPartitions: []*sarama.OwnedPartition{{Topic: "orders", Partitions: []int32{0}}},
		},
	}, map[string][]int32{"orders": {0, 1, 2}})
	fmt.Println(plan, err)
	// Output: map[a:map[orders:[0 2]] c:map[orders:[1]]] <nil>
}
