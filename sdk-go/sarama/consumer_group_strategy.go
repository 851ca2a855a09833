package sarama

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// maxMemberName bounds what a member calls itself, as the broker does.
const maxMemberName = 249

// userDataMark stands in what a member calls itself between its client id, which has no space, and
// its user data: the broker hands that on to those who plan, and has no other place for it.
const userDataMark = " user-data="

// memberName is what a member calls itself.
func memberName(clientID string, userData []byte) (string, error) {
	if len(userData) == 0 {
		return clientID, nil
	}
	name := clientID + userDataMark + base64.RawStdEncoding.EncodeToString(userData)
	if len(name) > maxMemberName {
		room := base64.RawStdEncoding.DecodedLen(maxMemberName - len(clientID) - len(userDataMark))
		return "", ConfigurationError(fmt.Sprintf(
			"the user data of a member must have at most %d bytes with this ClientID, not %d",
			max(room, 0), len(userData)))
	}
	return name, nil
}

// splitMemberName undoes it.
func splitMemberName(name string) (clientID string, userData []byte) {
	i := strings.LastIndex(name, userDataMark)
	if i < 0 {
		return name, nil
	}
	data, err := base64.RawStdEncoding.DecodeString(name[i+len(userDataMark):])
	if err != nil {
		return name, nil
	}
	return name[:i], data
}

// subscriptionData is what strategies are told of the member.
func subscriptionData(config *Config, strategy BalanceStrategy, topics []string) []byte {
	if s, ok := strategy.(SubscriptionUserDataBalanceStrategy); ok {
		data, err := s.SubscriptionUserData(slices.Clone(topics))
		if err == nil {
			return data
		}
		Logger.Printf("the strategy %s has no user data, so that of the config counts: %v\n",
			strategy.Name(), err)
	}
	return config.Consumer.Group.Member.UserData
}

// strategy asks for what the broker has, where it has it.
func (m *groupMember) strategy(strategy BalanceStrategy) ropewalk.GroupOption {
	switch strategy.(type) {
	case rangeStrategy:
		return ropewalk.GroupStrategy("range")
	case roundRobinStrategy:
		return ropewalk.GroupStrategy("round-robin")
	case stickyStrategy, cooperativeStrategy:
		return ropewalk.GroupStrategy("sticky")
	}
	return ropewalk.GroupPlanner(strategy.Name(), func(r ropewalk.PlanRequest) ropewalk.GroupPlan {
		plan, err := m.plan(strategy, r)
		if err != nil {
			m.group.report(fmt.Errorf("the strategy %s has no plan: %w", strategy.Name(), err), "", 0)
		}
		return plan
	})
}

// plan asks a strategy of the program's own.
func (m *groupMember) plan(
	strategy BalanceStrategy, r ropewalk.PlanRequest,
) (plan ropewalk.GroupPlan, err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("it panicked: %v", caught)
		}
	}()
	generation := int32(m.core.Generation())
	members := map[string]ConsumerGroupMemberMetadata{}
	for _, member := range r.Members {
		current := topicsOf(member.Current)
		_, userData := splitMemberName(member.ClientID)
		if len(current) > 0 {
			// With sarama, a member tells this by itself when it joins again.
			data, err := strategy.AssignmentData(member.ID, current, generation)
			if err != nil {
				return nil, err
			}
			if data != nil {
				userData = data
			}
		}
		metadata := ConsumerGroupMemberMetadata{
			Version: 2, Topics: member.Topics, UserData: userData, GenerationID: generation,
		}
		for topic, partitions := range current {
			metadata.OwnedPartitions = append(metadata.OwnedPartitions,
				&OwnedPartition{Topic: topic, Partitions: partitions})
		}
		slices.SortFunc(metadata.OwnedPartitions, func(a, b *OwnedPartition) int {
			return strings.Compare(a.Topic, b.Topic)
		})
		members[member.ID] = metadata
	}
	topics := map[string][]int32{}
	for topic, count := range r.Topics {
		for partition := range count {
			topics[topic] = append(topics[topic], partition)
		}
	}
	shares, err := strategy.Plan(members, topics)
	if err != nil {
		return nil, err
	}
	plan = ropewalk.GroupPlan{}
	for id, share := range shares {
		for topic, partitions := range share {
			for _, partition := range partitions {
				plan[id] = append(plan[id],
					ropewalk.TopicPartition{Topic: topic, Partition: partition})
			}
		}
	}
	return plan, nil
}

// tellStrategy tells a strategy of the program's own what its member has got.
func (m *groupMember) tellStrategy(topics map[string][]int32, generation int32) {
	strategy := m.group.config.groupStrategies()[0]
	s, ok := strategy.(OnAssignmentBalanceStrategy)
	if !ok {
		return
	}
	data, err := strategy.AssignmentData(m.id, topics, generation)
	if err != nil {
		Logger.Printf("the strategy %s has nothing to tell its member: %v\n", strategy.Name(), err)
	}
	s.OnAssignment(&ConsumerGroupMemberAssignment{Topics: topics, UserData: data}, generation)
}
