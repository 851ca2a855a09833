package sarama

import (
	"maps"
	"slices"
)

// noGeneration is the generation of a member that has none.
const noGeneration = -1

// NewBalanceStrategySticky has members keep what they have, as far as it comes out even.
func NewBalanceStrategySticky() BalanceStrategy { return stickyStrategy{} }

type stickyStrategy struct{}

// Name returns StickyBalanceStrategyName.
func (stickyStrategy) Name() string { return StickyBalanceStrategyName }

// Plan shares partitions evenly, and with few moves. What members have so far is in their user
// data, as AssignmentData makes it.
func (stickyStrategy) Plan(
	members map[string]ConsumerGroupMemberMetadata, topics map[string][]int32,
) (BalanceStrategyPlan, error) {
	has := map[string]formerShare{}
	for id, member := range members {
		share, err := decodeShare(member.UserData)
		if err != nil {
			return nil, err
		}
		has[id] = share
	}
	return planSticky(members, topics, has), nil
}

// AssignmentData is what a member has, for the next plan: the form is that of Kafka's sticky
// assignor.
func (stickyStrategy) AssignmentData(
	_ string, topics map[string][]int32, generationID int32,
) ([]byte, error) {
	return encodeShare(formerShare{places: placesOf(topics), generation: generationID}), nil
}

// NewBalanceStrategyCooperativeSticky is the sticky strategy for sessions that live on when
// partitions move: Consume goes on, claims of partitions that go to others end, and those that stay
// are not touched.
func NewBalanceStrategyCooperativeSticky() BalanceStrategy { return cooperativeStrategy{} }

type cooperativeStrategy struct{ noAssignmentData }

// Name returns CooperativeStickyBalanceStrategyName.
func (cooperativeStrategy) Name() string { return CooperativeStickyBalanceStrategyName }

// SupportedProtocols returns both.
func (cooperativeStrategy) SupportedProtocols() []RebalanceProtocol {
	return []RebalanceProtocol{RebalanceProtocolCooperative, RebalanceProtocolEager}
}

// Plan shares partitions as the sticky strategy does. What members have so far is in
// OwnedPartitions. What is to move is left out: its owner has to give it up before the next plan
// gives it away.
func (cooperativeStrategy) Plan(
	members map[string]ConsumerGroupMemberMetadata, topics map[string][]int32,
) (BalanceStrategyPlan, error) {
	has, owner := map[string]formerShare{}, map[place]string{}
	for _, id := range slices.Sorted(maps.Keys(members)) {
		share := formerShare{generation: members[id].GenerationID}
		for _, owned := range members[id].OwnedPartitions {
			for _, partition := range owned.Partitions {
				p := place{owned.Topic, partition}
				share.places, owner[p] = append(share.places, p), id
			}
		}
		has[id] = share
	}
	plan := planSticky(members, topics, has)
	for id, share := range plan {
		for topic, partitions := range share {
			share[topic] = slices.DeleteFunc(partitions, func(partition int32) bool {
				now, owned := owner[place{topic, partition}]
				return owned && now != id
			})
			if len(share[topic]) == 0 {
				delete(share, topic)
			}
		}
	}
	return plan, nil
}

// formerShare is what a member had, and when.
type formerShare struct {
	places     []place
	generation int32
}

// stickyPlan is a plan in the making.
type stickyPlan struct {
	readers map[place][]string
	owner   map[place]string
	load    map[string]int
}

// planSticky has members keep what they had, gives away what nobody has to whoever has the least,
// and moves on from those that have too much.
func planSticky(
	members map[string]ConsumerGroupMemberMetadata, topics map[string][]int32,
	has map[string]formerShare,
) BalanceStrategyPlan {
	places, ids := placesOf(topics), slices.Sorted(maps.Keys(members))
	s := stickyPlan{map[place][]string{}, map[place]string{}, map[string]int{}}
	for _, p := range places {
		for _, id := range ids {
			if slices.Contains(members[id].Topics, p.topic) {
				s.readers[p] = append(s.readers[p], id)
			}
		}
	}
	s.keep(ids, has)
	for _, p := range places {
		if s.owner[p] == "" && len(s.readers[p]) > 0 {
			s.give(p, s.least(p))
		}
	}
	for s.move(places) {
	}
	plan := BalanceStrategyPlan{}
	for _, id := range ids {
		plan[id] = map[string][]int32{}
	}
	for _, p := range places {
		if owner := s.owner[p]; owner != "" {
			plan.Add(owner, p.topic, p.partition)
		}
	}
	return plan
}

// keep gives members what they had, where they still read it. What several say they had is of the
// one that says so of the newest generation.
func (s *stickyPlan) keep(ids []string, has map[string]formerShare) {
	since := map[place]int32{}
	for _, id := range ids {
		for _, p := range has[id].places {
			former, known := since[p]
			if !slices.Contains(s.readers[p], id) || known && former >= has[id].generation {
				continue
			}
			if owner := s.owner[p]; owner != "" {
				s.load[owner]--
			}
			since[p] = has[id].generation
			s.give(p, id)
		}
	}
}

// move moves one partition from whoever has most too much; it reports false when all is even.
func (s *stickyPlan) move(places []place) bool {
	var from place
	most := 1
	for _, p := range places {
		if owner := s.owner[p]; owner != "" {
			if more := s.load[owner] - s.load[s.least(p)]; more > most {
				from, most = p, more
			}
		}
	}
	if most > 1 {
		s.load[s.owner[from]]--
		s.give(from, s.least(from))
	}
	return most > 1
}

func (s *stickyPlan) give(p place, id string) {
	s.owner[p] = id
	s.load[id]++
}

// least is the member that reads a partition and has the least.
func (s *stickyPlan) least(p place) string {
	least := s.readers[p][0]
	for _, id := range s.readers[p] {
		if s.load[id] < s.load[least] {
			least = id
		}
	}
	return least
}
