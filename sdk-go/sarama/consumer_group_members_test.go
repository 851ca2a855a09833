package sarama_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// session runs one session of a group, and ends it once the handler is in a claim.
func session(
	t testing.TB, group sarama.ConsumerGroup, topics []string,
	f func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim),
) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	ran := false
	var mu sync.Mutex
	err := group.Consume(ctx, topics, handler{
		claim: func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
			mu.Lock()
			defer mu.Unlock()
			if !ran {
				f(s, c)
			}
			ran = true
			return nil
		},
	})
	if err != nil || !ran {
		t.Fatalf("the session ran: %v, %v", ran, err)
	}
}

// The strategies of this package are the broker's.
func TestGroupStrategiesOfTheBroker(t *testing.T) {
	addrs, client := topicOf(t, 1)
	for _, test := range []struct {
		strategy sarama.BalanceStrategy
		want     string
	}{
		{sarama.BalanceStrategyRange, "range"},
		{sarama.NewBalanceStrategyRoundRobin(), "round-robin"},
		{sarama.BalanceStrategySticky, "sticky"},
		{sarama.NewBalanceStrategyCooperativeSticky(), "sticky"},
	} {
		config := groupConfig()
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{test.strategy}
		group := newGroup(t, addrs, config)
		session(t, group, []string{"t"},
			func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) {
				if got := describe(t, client).Strategy; got != test.want {
					t.Errorf("%s is %s", test.strategy.Name(), got)
				}
			})
		closing(t, group)
	}
}

// heaviest gives everything to the member whose user data is largest.
type heaviest struct {
	mu   sync.Mutex
	saw  map[string]sarama.ConsumerGroupMemberMetadata
	told map[string][]int32
}

func (h *heaviest) Name() string { return "heaviest" }

func (h *heaviest) Plan(
	members map[string]sarama.ConsumerGroupMemberMetadata, topics map[string][]int32,
) (sarama.BalanceStrategyPlan, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saw = members
	var best string
	for id, member := range members {
		if best == "" || bytes.Compare(member.UserData, members[best].UserData) > 0 {
			best = id
		}
	}
	plan := sarama.BalanceStrategyPlan{}
	for topic, partitions := range topics {
		plan.Add(best, topic, partitions...)
	}
	return plan, nil
}

func (h *heaviest) AssignmentData(string, map[string][]int32, int32) ([]byte, error) {
	return nil, nil
}

func (h *heaviest) OnAssignment(a *sarama.ConsumerGroupMemberAssignment, generation int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = a.Topics
}

// A strategy of the program's own plans, with the user data of all members, and hears what came of
// it.
func TestGroupStrategyOfTheProgram(t *testing.T) {
	addrs, client := topicOf(t, 3)
	fill(t, addrs, 3, 1)
	strategies, claims := map[string]*heaviest{}, map[string]*atomic.Int64{}
	for _, weight := range []string{"1", "2"} {
		strategy, claimed := &heaviest{}, &atomic.Int64{}
		strategies[weight], claims[weight] = strategy, claimed
		config := groupConfig()
		config.ClientID = "weighs"
		config.Consumer.Group.Member.UserData = []byte(weight)
		config.Consumer.Group.Rebalance.Strategy = strategy
		consuming(t, newGroup(t, addrs, config), handler{
			setup: func(s sarama.ConsumerGroupSession) error {
				claimed.Store(int64(len(s.Claims()["t"])))
				return nil
			},
			claim: marking(func(*sarama.ConsumerMessage) {}),
		})
		within(t, "it has all", func() bool { return claimed.Load() == 3 })
	}
	within(t, "the other has nothing", func() bool { return claims["1"].Load() == 0 })
	if got := describe(t, client).Strategy; got != "client:heaviest" {
		t.Errorf("the strategy is %s", got)
	}
	heavy := strategies["2"]
	heavy.mu.Lock()
	if !slices.Equal(heavy.told["t"], []int32{0, 1, 2}) {
		t.Errorf("it is told %v", heavy.told)
	}
	heavy.mu.Unlock()
	seen := 0
	for _, strategy := range strategies {
		strategy.mu.Lock()
		for _, member := range strategy.saw {
			if !slices.Equal(member.Topics, []string{"t"}) || len(member.UserData) != 1 {
				t.Errorf("a member is %+v", member)
			}
			seen++
		}
		strategy.mu.Unlock()
	}
	if seen < 2 {
		t.Errorf("they saw %d members", seen)
	}
}

// User data has to fit beside the client id.
func TestGroupUserDataIsBounded(t *testing.T) {
	config := groupConfig()
	config.Consumer.Group.Member.UserData = make([]byte, 250)
	var wrong sarama.ConfigurationError
	addrs := []string{newServer(t).Address()}
	if _, err := sarama.NewConsumerGroup(addrs, "g", config); !errors.As(err, &wrong) {
		t.Errorf("%v", err)
	}
	if _, err := sarama.NewConsumerGroupFromClient("g", nil); !errors.As(err, &wrong) {
		t.Errorf("no client: %v", err)
	}
}

// A static member that is restarted in time has what it had, and nothing moves.
func TestGroupStaticMember(t *testing.T) {
	addrs, client := topicOf(t, 2)
	config := groupConfig()
	config.Version = sarama.V2_3_0_0
	config.Consumer.Group.InstanceId = "one"
	config.Consumer.Group.Session.Timeout = time.Minute
	start := func() {
		group := newGroup(t, addrs, config)
		defer closing(t, group)
		session(t, group, []string{"t"},
			func(s sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) {
				if len(s.Claims()["t"]) != 2 {
					t.Errorf("it claims %v", s.Claims())
				}
			})
	}
	start()
	members := describe(t, client).Members
	if len(members) != 1 || members[0].Instance != "one" || len(members[0].Assigned) != 2 {
		t.Fatalf("it is not waited for: %+v", members)
	}
	start()
	if members = describe(t, client).Members; len(members) != 1 || len(members[0].Assigned) != 2 {
		t.Errorf("afterwards: %+v", members)
	}
}

// A member stays one between calls of Consume, joins anew for other topics, and leaves when Consume
// is not called.
func TestGroupMembershipOutlivesSessions(t *testing.T) {
	addrs, client := topicOf(t, 1)
	if _, err := client.Admin().CreateTopic(context.Background(), "u", 1); err != nil {
		t.Fatal(err)
	}
	config := groupConfig()
	config.Consumer.Group.Heartbeat.Interval = time.Second
	config.Consumer.Group.Session.Timeout = 4 * time.Second
	group := newGroup(t, addrs, config)
	defer closing(t, group)
	var ids []string
	note := func(s sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) {
		ids = append(ids, s.MemberID())
	}
	generation := func() int64 { return describe(t, client).Generation }
	session(t, group, []string{"t"}, note)
	before := generation()
	session(t, group, []string{"t"}, note)
	if after := generation(); after != before || ids[0] != ids[1] {
		t.Errorf("generations %d and %d, members %v", before, after, ids)
	}
	session(t, group, []string{"u", "t"}, note)
	if ids[2] == ids[1] {
		t.Error("it has other topics and is the member it was")
	}
	within(t, "it leaves", func() bool { return len(describe(t, client).Members) == 0 })
	session(t, group, []string{"t"}, note)
}

// With a cooperative strategy the session and the claims that stay live on when partitions move.
func TestGroupCooperates(t *testing.T) {
	const partitions, messages = 4, 20
	addrs, client := topicOf(t, partitions)
	config := groupConfig()
	config.Consumer.Group.Rebalance.GroupStrategies =
		[]sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	var got read
	var setups, cleanups, claims, ended atomic.Int64
	var last atomic.Value
	member := func() handler {
		return handler{
			setup:   func(sarama.ConsumerGroupSession) error { setups.Add(1); return nil },
			cleanup: func(sarama.ConsumerGroupSession) error { cleanups.Add(1); return nil },
			claim: func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
				claims.Add(1)
				last.Store(s)
				for message := range c.Messages() {
					got.note(message)
					s.MarkMessage(message, "")
				}
				ended.Add(1)
				return nil
			},
		}
	}
	consuming(t, newGroup(t, addrs, config), member())
	within(t, "all are claimed", func() bool { return claims.Load() == partitions })
	first := last.Load().(sarama.ConsumerGroupSession)
	fill(t, addrs, partitions, messages)
	within(t, "all are read", func() bool { return got.count() == partitions*messages })
	stop := consuming(t, newGroup(t, addrs, config), member())
	within(t, "two share", func() bool {
		return len(first.Claims()["t"]) == 2 && claims.Load() == partitions+2
	})
	if setups.Load() != 2 || cleanups.Load() != 0 || ended.Load() != 2 ||
		first.Context().Err() != nil {
		t.Errorf("%d sessions, %d ended, %d claims ended, the first: %v",
			setups.Load(), cleanups.Load(), ended.Load(), first.Context().Err())
	}
	stop()
	within(t, "one has all again", func() bool { return len(first.Claims()["t"]) == partitions })
	if setups.Load() != 2 || cleanups.Load() != 1 {
		t.Errorf("%d sessions, %d ended", setups.Load(), cleanups.Load())
	}
	if want := describe(t, client).Generation; int64(first.GenerationID()) > want {
		t.Errorf("generation %d of %d", first.GenerationID(), want)
	}
	for value, times := range got.times {
		if times != 1 {
			t.Errorf("%s came %d times, and everything was committed", value, times)
		}
	}
}

// A group over a client leaves it open.
func TestGroupSharesAClient(t *testing.T) {
	addrs, _ := topicOf(t, 1)
	client, err := sarama.NewClient(addrs, groupConfig())
	if err != nil {
		t.Fatal(err)
	}
	group, err := sarama.NewConsumerGroupFromClient("g", client)
	if err != nil {
		t.Fatal(err)
	}
	session(t, group, []string{"t"}, func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) {})
	closing(t, group)
	if client.Closed() {
		t.Error("the client is closed")
	}
	closing(t, client)
	_, err = sarama.NewConsumerGroupFromClient("g", client)
	if !errors.Is(err, sarama.ErrClosedClient) {
		t.Errorf("over a client that is closed: %v", err)
	}
}

// noPlan is a strategy that fails, or panics.
type noPlan struct {
	heaviest
	err error
}

func (s *noPlan) Plan(
	map[string]sarama.ConsumerGroupMemberMetadata, map[string][]int32,
) (sarama.BalanceStrategyPlan, error) {
	if s.err == nil {
		panic("no plan")
	}
	return nil, s.err
}

// A strategy of the program's own that fails is told of, and the broker shares instead.
func TestGroupStrategyFails(t *testing.T) {
	wrong := errors.New("wrong")
	for name, strategy := range map[string]*noPlan{"error": {err: wrong}, "panic": {}} {
		t.Run(name, func(t *testing.T) {
			addrs, _ := topicOf(t, 1)
			config := groupConfig()
			config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
			group := newGroup(t, addrs, config)
			var claims atomic.Int64
			stop := consuming(t, group, handler{
				claim: func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
					claims.Add(1)
					return marking(func(*sarama.ConsumerMessage) {})(s, c)
				},
			})
			if err := <-group.Errors(); strategy.err != nil && !errors.Is(err, wrong) || err == nil {
				t.Errorf("told: %v", err)
			}
			within(t, "the broker shares", func() bool { return claims.Load() > 0 })
			stop()
		})
	}
}

// A group with a nil config has the defaults. One that was never in Consume can be closed.
func TestGroupOfDefaults(t *testing.T) {
	group := newGroup(t, []string{newServer(t).Address()}, nil)
	group.PauseAll()
	group.ResumeAll()
	group.Pause(map[string][]int32{"t": {0}})
	closing(t, group)
}
