package sarama_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

type members = map[string]sarama.ConsumerGroupMemberMetadata

func reading(topics ...string) sarama.ConsumerGroupMemberMetadata {
	return sarama.ConsumerGroupMemberMetadata{Topics: topics}
}

func plan(
	t testing.TB, s sarama.BalanceStrategy, members members, topics map[string][]int32,
) sarama.BalanceStrategyPlan {
	t.Helper()
	plan, err := s.Plan(members, topics)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// Vectors of sarama.
func TestRangeAndRoundRobinPlans(t *testing.T) {
	twelve := []int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	for name, test := range map[string]struct {
		strategy sarama.BalanceStrategy
		members  members
		topics   map[string][]int32
		want     sarama.BalanceStrategyPlan
	}{
		"range, even": {
			sarama.NewBalanceStrategyRange(),
			members{"M1": reading("T1", "T2"), "M2": reading("T1", "T2")},
			map[string][]int32{"T1": {0, 1, 2, 3}, "T2": {0, 1, 2, 3}},
			sarama.BalanceStrategyPlan{
				"M1": {"T1": {0, 1}, "T2": {0, 1}}, "M2": {"T1": {2, 3}, "T2": {2, 3}},
			},
		},
		"range, uneven": {
			sarama.BalanceStrategyRange,
			members{
				"M1": reading("T1"), "M2": reading("T1", "T2", "T1"), "M3": reading("T1"),
			},
			map[string][]int32{"T1": {0, 1, 2, 3, 4}, "T2": {0, 1}, "T3": {0}},
			sarama.BalanceStrategyPlan{
				"M1": {"T1": {0, 1}}, "M2": {"T1": {2, 3}, "T2": {0, 1}}, "M3": {"T1": {4}},
			},
		},
		"range, more members than partitions": {
			sarama.BalanceStrategyRange,
			members{"b": reading("T"), "a": reading("T")},
			map[string][]int32{"T": {0}},
			sarama.BalanceStrategyPlan{"a": {"T": {0}}},
		},
		"round robin": {
			sarama.NewBalanceStrategyRoundRobin(),
			members{"m0": reading("t0", "t1"), "m1": reading("t0", "t1")},
			map[string][]int32{"t0": {0, 1, 2}, "t1": {0, 1, 2}},
			sarama.BalanceStrategyPlan{
				"m0": {"t0": {0, 2}, "t1": {1}}, "m1": {"t0": {1}, "t1": {0, 2}},
			},
		},
		"round robin, in the order of text": {
			sarama.BalanceStrategyRoundRobin,
			members{"m0": reading("t"), "m1": reading("t"), "m2": reading("u")},
			map[string][]int32{"t": twelve, "u": {0}, "v": {0}},
			sarama.BalanceStrategyPlan{
				"m0": {"t": {0, 10, 2, 4, 6, 8}}, "m1": {"t": {1, 11, 3, 5, 7, 9}}, "m2": {"u": {0}},
			},
		},
	} {
		if got := plan(t, test.strategy, test.members, test.topics); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v", name, got)
		}
		if data, err := test.strategy.AssignmentData("m", test.topics, 1); data != nil || err != nil {
			t.Errorf("%s: %v, %v", name, data, err)
		}
	}
	if _, err := sarama.BalanceStrategyRoundRobin.Plan(nil, nil); err == nil {
		t.Error("round robin plans for nobody")
	}
}

// moves counts what one plan has elsewhere than another, and checks that a plan is even and whole.
func moves(t testing.TB, before, after sarama.BalanceStrategyPlan, partitions int) int {
	t.Helper()
	owner, moved, least, most, total := map[string]string{}, 0, partitions, 0, 0
	each := func(p sarama.BalanceStrategyPlan, f func(place, member string)) {
		for member, topics := range p {
			for topic, numbers := range topics {
				for _, n := range numbers {
					f(fmt.Sprint(topic, "-", n), member)
				}
			}
		}
	}
	each(before, func(place, member string) { owner[place] = member })
	counts := map[string]int{}
	for member := range after {
		counts[member] = 0
	}
	each(after, func(place, member string) {
		counts[member]++
		total++
		if was, known := owner[place]; known && was != member {
			moved++
		}
	})
	for n := range maps.Values(counts) {
		least, most = min(least, n), max(most, n)
	}
	if total != partitions || most > least+1 {
		t.Errorf("%d of %d partitions, %d to %d each: %v", total, partitions, least, most, after)
	}
	return moved
}

// The sticky strategy comes out even, and moves what it must.
func TestStickyPlans(t *testing.T) {
	sticky := sarama.NewBalanceStrategySticky()
	topics := map[string][]int32{"t": {0, 1, 2, 3, 4, 5}, "u": {0, 1, 2}}
	told := members{}
	var former sarama.BalanceStrategyPlan
	for generation, step := range []struct {
		ids   []string
		moves int
	}{
		{[]string{"a"}, 0}, {[]string{"a", "b"}, 4}, {[]string{"a", "b", "c"}, 3},
		{[]string{"b", "c"}, 3}, {[]string{"b", "c"}, 0},
	} {
		now := members{}
		for _, id := range step.ids {
			member := told[id]
			member.Topics = []string{"t", "u"}
			now[id] = member
		}
		next := plan(t, sticky, now, topics)
		if n := moves(t, former, next, 9); n > step.moves {
			t.Errorf("%v: %d moves", step.ids, n)
		}
		for id, share := range next {
			data, err := sticky.AssignmentData(id, share, int32(generation))
			if err != nil {
				t.Fatal(err)
			}
			told[id] = sarama.ConsumerGroupMemberMetadata{UserData: data}
		}
		former = next
	}
	// What two say they have is of the one that says so of the newer generation.
	older, _ := sticky.AssignmentData("a", map[string][]int32{"t": {0}}, 1)
	newer, _ := sticky.AssignmentData("b", map[string][]int32{"t": {0}}, 2)
	next := plan(t, sticky, members{
		"a": {Topics: []string{"t"}, UserData: older}, "b": {Topics: []string{"t"}, UserData: newer},
	}, map[string][]int32{"t": {0}})
	if !slices.Equal(next["b"]["t"], []int32{0}) {
		t.Errorf("%v", next)
	}
	for _, broken := range []string{
		"x", "\x00\x00\x00\x01\x00\x09t", "\xff\xff\xff\xff\x00\x00\x00\x00",
	} {
		_, err := sticky.Plan(members{
			"a": {Topics: []string{"t"}, UserData: []byte(broken)},
		}, topics)
		if err == nil {
			t.Errorf("user data %q is taken", broken)
		}
	}
}

// What a sticky strategy tells members is in the form of Kafka's, bytes and all.
func TestStickyAssignmentData(t *testing.T) {
	has := map[string][]int32{"t03": {0, 256}}
	got, err := sarama.BalanceStrategySticky.AssignmentData("m", has, 100)
	want := "\x00\x00\x00\x01" + "\x00\x03t03" + "\x00\x00\x00\x02" +
		"\x00\x00\x00\x00" + "\x00\x00\x01\x00" + "\x00\x00\x00\x64"
	if err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}

// The cooperative one leaves out what its owner has to give up first.
func TestCooperativePlans(t *testing.T) {
	s := sarama.NewBalanceStrategyCooperativeSticky()
	topics := map[string][]int32{"t": {0, 1, 2, 3}}
	both := members{
		"a": {Topics: []string{"t"}, OwnedPartitions: []*sarama.OwnedPartition{
			{Topic: "t", Partitions: []int32{0, 1, 2, 3}},
		}},
		"b": reading("t"),
	}
	first := plan(t, s, both, topics)
	if len(first["a"]["t"]) != 2 || len(first["b"]["t"]) != 0 {
		t.Errorf("at first: %v", first)
	}
	both["a"].OwnedPartitions[0].Partitions = first["a"]["t"]
	if n := moves(t, first, plan(t, s, both, topics), 4); n != 0 {
		t.Errorf("%d moves", n)
	}
	protocols := s.(sarama.RebalanceProtocolBalanceStrategy).SupportedProtocols()
	if !slices.Contains(protocols, sarama.RebalanceProtocolCooperative) {
		t.Errorf("it knows %v", protocols)
	}
}
