package mocks_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
	"github.com/ropewalk/ropewalk/sdk-go/sarama/mocks"
)

var (
	_ sarama.ConsumerGroup        = (*mocks.ConsumerGroup)(nil)
	_ sarama.ConsumerGroupSession = (*mocks.GroupSession)(nil)
)

// tally is a handler in the manner of programs: it counts, and marks what it has counted.
type tally struct {
	mu     sync.Mutex
	seen   []string
	events []string
	fails  func(m *sarama.ConsumerMessage) error
}

func (h *tally) event(format string, v ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, fmt.Sprintf(format, v...))
}

func (h *tally) Setup(s sarama.ConsumerGroupSession) error {
	h.event("setup %d", s.GenerationID())
	return nil
}

func (h *tally) Cleanup(s sarama.ConsumerGroupSession) error {
	h.event("cleanup %d", s.GenerationID())
	return nil
}

func (h *tally) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for {
		select {
		case m, open := <-claim.Messages():
			if !open {
				return nil
			}
			h.mu.Lock()
			h.seen = append(h.seen, string(m.Value))
			h.mu.Unlock()
			if h.fails != nil {
				if err := h.fails(m); err != nil {
					return err
				}
			}
			session.MarkMessage(m, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

// loop is what programs have around Consume.
func loop(ctx context.Context, group sarama.ConsumerGroup, h sarama.ConsumerGroupHandler) error {
	for {
		err := group.Consume(ctx, []string{"t"}, h)
		if errors.Is(err, sarama.ErrClosedConsumerGroup) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Sessions come one after the other, each with its claims; what is marked is committed.
func TestConsumerGroup(t *testing.T) {
	group := mocks.NewConsumerGroup(t, nil)
	first := group.ExpectSession().EndAfterMessages().
		ExpectMarked("t", 0, 2).ExpectMarked("t", 1, 8)
	first.ExpectClaim("t", 0, sarama.OffsetOldest).
		YieldMessage(value("a")).YieldMessage(value("b")).ExpectMessagesDrainedOnClose()
	first.ExpectClaim("t", 1, 7).YieldMessage(value("c"))
	group.ExpectSession().EndAfterMessages().ExpectClaim("t", 0, 2).YieldMessage(value("d"))

	ctx, cancel := context.WithCancel(t.Context())
	h := &tally{}
	done := make(chan error, 1)
	go func() { done <- loop(ctx, group, h) }()
	await(t, func() bool {
		offset, _ := group.Committed("t", 0)
		return offset == 3
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	closing(t, group)
	closing(t, group)
	if got := strings.Join(h.events, ", "); got != "setup 1, cleanup 1, setup 2, cleanup 2" {
		t.Errorf("got %s", got)
	}
	if len(h.seen) != 4 || h.seen[3] != "d" {
		t.Errorf("seen %v", h.seen)
	}
	if offset, ok := group.Committed("t", 1); !ok || offset != 8 {
		t.Errorf("committed %d, %v", offset, ok)
	}
	if err := group.Consume(t.Context(), []string{"t"}, h); err != sarama.ErrClosedConsumerGroup {
		t.Errorf("closed: %v", err)
	}
}

func await(t *testing.T, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("waited in vain")
		}
	}
}

// A session ends when partitions move, with the context, and with the group. Messages can be
// yielded, and claims paused, while it runs.
func TestSessionsEnd(t *testing.T) {
	group := mocks.NewConsumerGroup(t, nil)
	moved, cancelled, closed := group.ExpectSession(), group.ExpectSession(), group.ExpectSession()
	claim := moved.ExpectClaim("t", 0, 0)
	h := &tally{}
	ctx, cancel := context.WithCancel(t.Context())
	run := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		go func() { done <- group.Consume(ctx, []string{"t"}, h) }()
		return done
	}
	begun := func(s *mocks.GroupSession) {
		await(t, func() bool { return s.Context() != nil })
	}
	done := run(ctx)
	begun(moved)
	group.Pause(map[string][]int32{"t": {0}})
	claim.YieldMessage(value("a"))
	if !claim.IsPaused() {
		t.Error("the claim is not paused")
	}
	group.ResumeAll()
	await(t, func() bool {
		offset, _, _ := moved.Marked("t", 0)
		return offset == 1
	})
	moved.End()
	if err := <-done; err != nil {
		t.Error(err)
	}
	done = run(ctx)
	begun(cancelled)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	done = run(t.Context())
	begun(closed)
	closing(t, group)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Errors of the handler end the session and are told; those of Consume are returned.
func TestConsumerGroupErrors(t *testing.T) {
	config := mocks.NewTestConfig()
	config.Consumer.Return.Errors = true
	group := mocks.NewConsumerGroup(t, config).ExpectConsumeAndFail(sarama.ErrOutOfBrokers)
	group.ExpectSession().ExpectMarked("t", 0, 1).ExpectClaim("t", 0, 0).
		YieldMessage(value("a")).YieldMessage(value("bad")).YieldError(sarama.ErrRequestTimedOut)
	h := &tally{fails: func(m *sarama.ConsumerMessage) error {
		if string(m.Value) == "bad" {
			return errWrong
		}
		return nil
	}}
	if err := loop(t.Context(), group, h); err != sarama.ErrOutOfBrokers {
		t.Errorf("got %v", err)
	}
	if err := group.Consume(t.Context(), []string{"t"}, h); err != nil {
		t.Errorf("got %v", err)
	}
	group.YieldError(sarama.ErrClosedClient)
	closing(t, group)
	var told []error
	for err := range group.Errors() {
		told = append(told, err)
	}
	all := errors.Join(told...)
	for _, want := range []error{errWrong, sarama.ErrRequestTimedOut, sarama.ErrClosedClient} {
		if !errors.Is(all, want) {
			t.Errorf("%v was not told, but %v", want, told)
		}
	}
	var of *sarama.ConsumerError
	if len(told) != 3 || !errors.As(all, &of) || of.Topic != "t" {
		t.Errorf("told %v", told)
	}
}

// Marks go forward, resets go back.
func TestMarks(t *testing.T) {
	group := mocks.NewConsumerGroup(t, nil)
	session := group.ExpectSession()
	session.MarkOffset("t", 0, 5, "five")
	session.MarkOffset("t", 0, 3, "three")
	if offset, metadata, ok := session.Marked("t", 0); offset != 5 || metadata != "five" || !ok {
		t.Errorf("marked %d, %s", offset, metadata)
	}
	session.ResetOffset("t", 0, 9, "nine")
	session.ResetOffset("t", 0, 3, "three")
	if offset, _, _ := session.Marked("t", 0); offset != 3 {
		t.Errorf("reset to %d", offset)
	}
	if _, ok := group.Committed("t", 0); ok {
		t.Error("it is committed already")
	}
	session.Commit()
	if offset, ok := group.Committed("t", 0); !ok || offset != 3 {
		t.Errorf("committed %d", offset)
	}
}

// Whatever is not as expected is reported.
func TestConsumerGroupReports(t *testing.T) {
	var r reports
	group := mocks.NewConsumerGroup(&r, nil)
	session := group.ExpectSession().EndAfterMessages().ExpectMarked("other", 0, 2).
		ExpectMarked("t", 0, 7)
	session.ExpectClaim("other", 0, 0).YieldMessage(value("a"))
	group.ExpectSession()
	if err := group.Consume(t.Context(), []string{"t"}, &tally{}); err != nil {
		t.Error(err)
	}
	closing(t, group)
	for _, want := range []string{
		"A claim of other is expected, but Consume names [t].",
		"Expected offset 2 of other/0 to be marked, but 1 is.",
		"Expected offset 7 of t/0 to be marked, but nothing is.",
		"Expected to exhaust all expectations, but 1 sessions are left.",
	} {
		if !strings.Contains(strings.Join(r.list, "\n"), want) {
			t.Errorf("not reported: %s, but %q", want, r.list)
		}
	}
	if len(r.list) != 4 {
		t.Errorf("reported: %q", r.list)
	}
}
