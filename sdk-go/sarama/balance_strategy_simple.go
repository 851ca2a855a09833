package sarama

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

var (
	// BalanceStrategyRange is a strategy of NewBalanceStrategyRange.
	//
	// Deprecated: use NewBalanceStrategyRange.
	BalanceStrategyRange = NewBalanceStrategyRange()

	// BalanceStrategyRoundRobin is a strategy of NewBalanceStrategyRoundRobin.
	//
	// Deprecated: use NewBalanceStrategyRoundRobin.
	BalanceStrategyRoundRobin = NewBalanceStrategyRoundRobin()

	// BalanceStrategySticky is a strategy of NewBalanceStrategySticky.
	//
	// Deprecated: use NewBalanceStrategySticky.
	BalanceStrategySticky = NewBalanceStrategySticky()
)

// NewBalanceStrategyRange has each member get a range of neighbouring partitions of each topic that
// it reads. Where they do not come out even, the first members get one more: the first by id where
// Plan is called, by when they joined where the broker shares.
func NewBalanceStrategyRange() BalanceStrategy { return rangeStrategy{} }

type rangeStrategy struct{ noAssignmentData }

// Name returns RangeBalanceStrategyName.
func (rangeStrategy) Name() string { return RangeBalanceStrategyName }

// Plan shares partitions in ranges.
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
			left := len(readers) - i
			count := (len(partitions) + left - 1) / left
			plan.Add(id, topic, partitions[:count]...)
			partitions = partitions[count:]
		}
	}
	return plan, nil
}

// NewBalanceStrategyRoundRobin has partitions of all topics go to one member after the other.
func NewBalanceStrategyRoundRobin() BalanceStrategy { return roundRobinStrategy{} }

type roundRobinStrategy struct{ noAssignmentData }

// Name returns RoundRobinBalanceStrategyName.
func (roundRobinStrategy) Name() string { return RoundRobinBalanceStrategyName }

// Plan shares partitions round and round: those of topic and number as text, in its order, among
// members by id. A member that does not read a topic is passed over.
func (roundRobinStrategy) Plan(
	members map[string]ConsumerGroupMemberMetadata, topics map[string][]int32,
) (BalanceStrategyPlan, error) {
	if len(members) == 0 || len(topics) == 0 {
		return nil, errors.New("members and topics are not provided")
	}
	places := placesOf(topics)
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.text(), b.text()) })
	ids := slices.Sorted(maps.Keys(members))
	plan := BalanceStrategyPlan{}
	turn := 0
	for _, p := range places {
		for range ids {
			id := ids[turn%len(ids)]
			turn++
			if slices.Contains(members[id].Topics, p.topic) {
				plan.Add(id, p.topic, p.partition)
				break
			}
		}
	}
	return plan, nil
}

// place is a partition to share.
type place struct {
	topic     string
	partition int32
}

func (p place) text() string { return fmt.Sprintf("%s-%d", p.topic, p.partition) }

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.topic, other.topic), cmp.Compare(p.partition, other.partition))
}

// placesOf is a map of topics and partitions as a list, in order.
func placesOf(topics map[string][]int32) []place {
	var places []place
	for topic, partitions := range topics {
		for _, partition := range partitions {
			places = append(places, place{topic, partition})
		}
	}
	slices.SortFunc(places, place.compare)
	return places
}
