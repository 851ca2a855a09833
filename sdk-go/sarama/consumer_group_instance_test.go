package sarama_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// Of two members with one InstanceId the newer has it. The session of the older ends, and it is
// refused for as long as the newer one is known: it disturbs that no more, also when its program
// calls Consume in a loop whatever comes. When the newer one has gone, it takes part again.
func TestGroupInstanceIdOfTwo(t *testing.T) {
	addrs, client := topicOf(t, 2)
	config := groupConfig()
	config.Version = sarama.V2_3_0_0
	config.Consumer.Group.InstanceId = "one"
	config.Consumer.Group.Session.Timeout = 3 * time.Second
	config.Consumer.Group.Heartbeat.Interval = time.Second
	config.Consumer.Group.Rebalance.Retry.Backoff = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()

	older := newGroup(t, addrs, config)
	defer closing(t, older)
	begun, ended := make(chan sarama.ConsumerGroupSession, 16), make(chan error, 16)
	claim := func(s sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) error {
		<-s.Context().Done()
		return nil
	}
	consume := func() error {
		return older.Consume(ctx, []string{"t"}, handler{
			setup: func(s sarama.ConsumerGroupSession) error { begun <- s; return nil },
			claim: claim,
			cleanup: func(s sarama.ConsumerGroupSession) error {
				ended <- context.Cause(s.Context())
				return nil
			},
		})
	}
	consumed := make(chan error, 1)
	go func() { consumed <- consume() }()
	if s := soon(t, "a session", begun); len(s.Claims()["t"]) != 2 {
		t.Fatalf("the older one claims %v", s.Claims())
	}

	newer := newGroup(t, addrs, config)
	sessions := make(chan sarama.ConsumerGroupSession, 16)
	stop := consuming(t, newer, handler{
		setup: func(s sarama.ConsumerGroupSession) error { sessions <- s; return nil },
		claim: claim,
	})
	if err := soon(t, "the end of Consume", consumed); err != nil {
		t.Errorf("the session ends with %v", err)
	}
	if cause := soon(t, "Cleanup", ended); !errors.Is(cause, sarama.ErrFencedInstancedId) {
		t.Errorf("cause: %v", cause)
	}
	if err := soon(t, "an error", older.Errors()); !errors.Is(err, sarama.ErrFencedInstancedId) {
		t.Errorf("told: %v", err)
	}
	s := soon(t, "a session of the newer one", sessions)
	if len(s.Claims()["t"]) != 2 {
		t.Errorf("the newer one claims %v", s.Claims())
	}
	generation := describe(t, client).Generation
	for attempt := range 4 {
		began := time.Now()
		if err := consume(); !errors.Is(err, sarama.ErrFencedInstancedId) {
			t.Fatalf("consuming again: %v", err)
		}
		if attempt > 0 && time.Since(began) < config.Consumer.Group.Rebalance.Retry.Backoff/2 {
			t.Errorf("it does not wait: %v", time.Since(began))
		}
	}
	group := describe(t, client)
	if group.Generation != generation || len(group.Members) != 1 ||
		group.Members[0].ID != s.MemberID() || s.Context().Err() != nil || len(sessions) != 0 {
		t.Errorf("the newer one is disturbed: generation %d, then %+v", generation, group)
	}

	stop()
	go func() {
		for ctx.Err() == nil {
			if err := consume(); err != nil && !errors.Is(err, sarama.ErrFencedInstancedId) {
				break
			}
		}
		close(consumed)
	}()
	if s := soon(t, "a session", begun); len(s.Claims()["t"]) != 2 {
		t.Errorf("afterwards the older one claims %v", s.Claims())
	}
	cancel()
	<-consumed
}

// soon is what comes over a channel.
func soon[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(30 * time.Second):
		t.Fatalf("waited in vain: %s", what)
		panic("not reached")
	}
}
