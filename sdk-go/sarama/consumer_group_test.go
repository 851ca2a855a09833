package sarama_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// handler is a consumer group's handler that a test writes as functions.
type handler struct {
	setup   func(sarama.ConsumerGroupSession) error
	cleanup func(sarama.ConsumerGroupSession) error
	claim   func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) error
}

func (h handler) Setup(s sarama.ConsumerGroupSession) error {
	if h.setup == nil {
		return nil
	}
	return h.setup(s)
}

func (h handler) Cleanup(s sarama.ConsumerGroupSession) error {
	if h.cleanup == nil {
		return nil
	}
	return h.cleanup(s)
}

func (h handler) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	return h.claim(s, c)
}

// marking is a ConsumeClaim that hands on each message and marks it.
func marking(
	f func(*sarama.ConsumerMessage),
) func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) error {
	return func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
		for {
			select {
			case message, ok := <-c.Messages():
				if !ok {
					return nil
				}
				f(message)
				s.MarkMessage(message, "")
			case <-s.Context().Done():
				return nil
			}
		}
	}
}

func groupConfig() *sarama.Config {
	config := testConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	return config
}

func newGroup(t testing.TB, addrs []string, config *sarama.Config) sarama.ConsumerGroup {
	t.Helper()
	group, err := sarama.NewConsumerGroup(addrs, "g", config)
	if err != nil {
		t.Fatal(err)
	}
	return group
}

// consuming calls Consume in a loop, as programs do, until the test ends or stop is called.
func consuming(
	t testing.TB, group sarama.ConsumerGroup, h sarama.ConsumerGroupHandler,
) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{"t"}, h); err != nil && ctx.Err() == nil &&
				!errors.Is(err, sarama.ErrClosedConsumerGroup) {
				t.Errorf("consume: %v", err)
				return
			}
		}
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			<-ended
			if err := group.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// within waits for a condition.
func within(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// topicOf makes a topic t on a new broker, and returns a client of the core beside it.
func topicOf(t testing.TB, partitions int32) ([]string, *ropewalk.Client) {
	t.Helper()
	broker := ropewalktest.Start(t)
	return []string{broker.Address}, withTopic(t, broker.Address, partitions)
}

func withTopic(t testing.TB, address string, partitions int32) *ropewalk.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	client, err := ropewalk.Dial(ctx, []string{address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, client) })
	if _, err := client.Admin().CreateTopic(ctx, "t", partitions); err != nil {
		t.Fatal(err)
	}
	return client
}

// fill appends so many messages to each of the partitions.
func fill(t testing.TB, addrs []string, partitions int32, messages int) {
	t.Helper()
	config := testConfig()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	producer, err := sarama.NewSyncProducer(addrs, config)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, producer)
	for n := range messages {
		for partition := range partitions {
			message := text("t", fmt.Sprintf("%d-%d", partition, n))
			message.Partition = partition
			if _, _, err := producer.SendMessage(message); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func describe(t testing.TB, client *ropewalk.Client) *ropewalk.GroupDescription {
	t.Helper()
	described, err := client.Admin().GetGroup(context.Background(), "g")
	if err != nil {
		t.Fatal(err)
	}
	return described
}

func committed(t testing.TB, client *ropewalk.Client, partition int32) int64 {
	t.Helper()
	for _, o := range describe(t, client).Offsets {
		if o.Partition == partition {
			return o.Committed
		}
	}
	return -1
}

// read collects messages, and knows which came how often.
type read struct {
	mu    sync.Mutex
	times map[string]int
}

func (r *read) note(m *sarama.ConsumerMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == nil {
		r.times = map[string]int{}
	}
	r.times[string(m.Value)]++
}

func (r *read) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.times)
}

// A session is Setup, a ConsumeClaim for each claim, Cleanup and a last commit, in this order; the
// next one goes on there.
func TestGroupSession(t *testing.T) {
	addrs, client := topicOf(t, 2)
	fill(t, addrs, 2, 3)
	config := groupConfig()
	config.Consumer.Offsets.AutoCommit.Interval = time.Hour
	group := newGroup(t, addrs, config)
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	var got read
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	h := handler{
		setup: func(s sarama.ConsumerGroupSession) error {
			note("setup")
			if claims := s.Claims()["t"]; !slices.Equal(claims, []int32{0, 1}) {
				t.Errorf("claims: %v", claims)
			}
			if s.MemberID() != describe(t, client).Members[0].ID || s.GenerationID() == 0 {
				t.Errorf("it is %s in generation %d", s.MemberID(), s.GenerationID())
			}
			return nil
		},
		claim: func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
			note("claim")
			if c.Topic() != "t" || c.InitialOffset() != 0 || c.HighWaterMarkOffset() != 3 {
				t.Errorf("%s from %d to %d", c.Topic(), c.InitialOffset(), c.HighWaterMarkOffset())
			}
			return marking(func(m *sarama.ConsumerMessage) {
				if got.note(m); got.count() == 6 {
					cancel()
				}
			})(s, c)
		},
		cleanup: func(s sarama.ConsumerGroupSession) error {
			note("cleanup")
			if at := committed(t, client, 0); at > 0 {
				t.Errorf("it is committed before Cleanup: %d", at)
			}
			if s.Context().Err() == nil {
				t.Error("the session goes on in Cleanup")
			}
			return nil
		},
	}
	if err := group.Consume(ctx, []string{"t"}, h); err != nil {
		t.Fatal(err)
	}
	if want := []string{"setup", "claim", "claim", "cleanup"}; !slices.Equal(order, want) {
		t.Errorf("order: %v", order)
	}
	for partition := range int32(2) {
		if at := committed(t, client, partition); at != 3 {
			t.Errorf("%d is committed of %d", at, partition)
		}
	}
	if err := group.Consume(ctx, []string{"t"}, h); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
	fill(t, addrs, 1, 1)
	next, found := context.WithTimeout(context.Background(), 60*time.Second)
	defer found()
	err := group.Consume(next, []string{"t"}, handler{claim: marking(func(m *sarama.ConsumerMessage) {
		if m.Offset != 3 || m.Partition != 0 {
			t.Errorf("it goes on at %d of %d", m.Offset, m.Partition)
		}
		found()
	})})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := group.Close(); err != nil {
			t.Error(err)
		}
	}
	within(t, "it has left", func() bool { return len(describe(t, client).Members) == 0 })
	err = group.Consume(context.Background(), []string{"t"}, h)
	if !errors.Is(err, sarama.ErrClosedConsumerGroup) {
		t.Errorf("after Close: %v", err)
	}
	if _, open := <-group.Errors(); open {
		t.Error("Errors is open after Close")
	}
}

// Errors of Setup and Cleanup are Consume's; those of a ConsumeClaim are the group's, and end the
// session. None of it has the member leave.
func TestGroupHandlerErrors(t *testing.T) {
	addrs, client := topicOf(t, 1)
	group := newGroup(t, addrs, groupConfig())
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	wrong := errors.New("wrong")
	cleaned := false
	err := group.Consume(ctx, []string{"t"}, handler{
		setup:   func(sarama.ConsumerGroupSession) error { return wrong },
		cleanup: func(sarama.ConsumerGroupSession) error { cleaned = true; return nil },
	})
	if !errors.Is(err, wrong) || !cleaned {
		t.Errorf("setup: %v, cleaned: %v", err, cleaned)
	}
	id := describe(t, client).Members[0].ID
	var cause error
	err = group.Consume(ctx, []string{"t"}, handler{
		claim: func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error { return wrong },
		cleanup: func(s sarama.ConsumerGroupSession) error {
			cause = context.Cause(s.Context())
			return wrong
		},
	})
	if !errors.Is(err, wrong) || !errors.Is(cause, sarama.ErrSessionConsumeClaimExited) {
		t.Errorf("cleanup: %v, cause %v", err, cause)
	}
	var of *sarama.ConsumerError
	if err := <-group.Errors(); !errors.As(err, &of) || !errors.Is(err, wrong) || of.Topic != "t" {
		t.Errorf("of the claim: %v", err)
	}
	if err := <-group.Errors(); !errors.Is(err, wrong) {
		t.Errorf("of Cleanup: %v", err)
	}
	if now := describe(t, client).Members; len(now) != 1 || now[0].ID != id {
		t.Errorf("another member is there: %v", now)
	}
	if err := group.Consume(ctx, nil, handler{}); err == nil {
		t.Error("no topics")
	}
	if err := group.Consume(ctx, []string{"not/valid"}, handler{}); err == nil {
		t.Error("a topic that cannot be")
	}
	closing(t, group)
}

// Members share, also when one comes and goes; each message is handled, and what is handled is
// committed. A rebalance ends sessions once, and then there is peace.
func TestGroupRebalances(t *testing.T) {
	const partitions, messages = 4, 50
	addrs, client := topicOf(t, partitions)
	var got read
	var mu sync.Mutex
	sessions, claims := map[int]int{}, map[int]map[string][]int32{}
	member := func(n int) handler {
		return handler{
			setup: func(s sarama.ConsumerGroupSession) error {
				mu.Lock()
				defer mu.Unlock()
				sessions[n]++
				claims[n] = s.Claims()
				return nil
			},
			claim: marking(got.note),
		}
	}
	shares := func(want map[int]int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			for n, count := range want {
				if len(claims[n]["t"]) != count {
					return false
				}
			}
			return true
		}
	}
	first := consuming(t, newGroup(t, addrs, groupConfig()), member(1))
	within(t, "one has all", shares(map[int]int{1: partitions}))
	fill(t, addrs, partitions, messages)
	within(t, "all are read", func() bool { return got.count() == partitions*messages })
	stop := consuming(t, newGroup(t, addrs, groupConfig()), member(2))
	within(t, "two share", shares(map[int]int{1: 2, 2: 2}))
	mu.Lock()
	before := sessions[1] + sessions[2]
	mu.Unlock()
	if before > 6 {
		t.Errorf("it took %d sessions", before)
	}
	time.Sleep(2 * time.Second) // nothing may happen meanwhile
	mu.Lock()
	if after := sessions[1] + sessions[2]; after != before {
		t.Errorf("%d more sessions for nothing", after-before)
	}
	mu.Unlock()
	stop()
	within(t, "one has all again", shares(map[int]int{1: partitions}))
	first()
	for partition := range int32(partitions) {
		if at := committed(t, client, partition); at != messages {
			t.Errorf("%d is committed of %d", at, partition)
		}
	}
	for value, times := range got.times {
		if times != 1 {
			t.Errorf("%s came %d times, and everything was committed", value, times)
		}
	}
}

// A claim that is read slowly holds up no other.
func TestGroupSlowClaim(t *testing.T) {
	const messages = 100 // more than the channels hold
	addrs, _ := topicOf(t, 2)
	fill(t, addrs, 2, messages)
	config := groupConfig()
	config.ChannelBufferSize = 1
	var got read
	release := make(chan struct{})
	stop := consuming(t, newGroup(t, addrs, config), handler{
		claim: func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
			if c.Partition() == 0 {
				<-release
			}
			return marking(got.note)(s, c)
		},
	})
	within(t, "the other is read", func() bool { return got.count() == messages })
	close(release)
	within(t, "both are read", func() bool { return got.count() == 2*messages })
	stop()
}
