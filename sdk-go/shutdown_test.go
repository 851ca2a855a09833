package ropewalk_test

import (
	"context"
	"errors"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// owing is a producer with a record that has no answer until the function that is returned is called,
// and where that comes.
func owing(t *testing.T) (*ropewalk.Client, *ropewalk.Producer, <-chan error, func()) {
	t.Helper()
	server := newServer(t)
	client := dial(t, server.Address())
	arrived, release := holdAnswers(server)
	producer := newProducer(t, client)
	answered := make(chan error, 1)
	err := producer.SendAsync(testContext(t), &ropewalk.Record{Topic: "t", Value: []byte("v")},
		func(_ *ropewalk.Record, _ ropewalk.Ack, err error) { answered <- err })
	if err != nil {
		t.Fatal(err)
	}
	<-arrived
	return client, producer, answered, func() { close(release) }
}

// Who closes what another one is closing has it closed when that returns.
func TestCloseWaitsForAnotherClose(t *testing.T) {
	client, producer, answered, release := owing(t)
	ended := make(chan string, 4)
	for what, end := range map[string]func() error{
		"client": client.Close, "client too": client.Close, "producer": producer.Close,
		"client by a context": func() error { return client.Shutdown(context.Background()) },
	} {
		go func() {
			if err := end(); err != nil {
				t.Error(err)
			}
			ended <- what
		}()
	}
	select {
	case what := <-ended:
		t.Errorf("%s has ended, and a record has no answer", what)
	case <-time.After(300 * time.Millisecond):
	}
	release()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	for range cap(ended) {
		<-ended
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

// What has no answer when the context ends is given up, and may have been appended.
func TestShutdownWaitsAsLongAsItsContext(t *testing.T) {
	for what, shutdown := range map[string]func(
		context.Context, *ropewalk.Client, *ropewalk.Producer) error{
		"producer": func(ctx context.Context, _ *ropewalk.Client, p *ropewalk.Producer) error {
			return p.Shutdown(ctx)
		},
		"client": func(ctx context.Context, c *ropewalk.Client, _ *ropewalk.Producer) error {
			return c.Shutdown(ctx)
		},
	} {
		t.Run(what, func(t *testing.T) {
			client, producer, answered, release := owing(t)
			defer release()
			ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
			defer cancel()
			err := shutdown(ctx, client, producer)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it ended with %v", err)
			}
			var e *ropewalk.Error
			if err := <-answered; !errors.As(err, &e) || !errors.Is(err, ropewalk.ReasonClosed) ||
				e.Appended() != ropewalk.OutcomeMaybe {
				t.Errorf("the record has %v", err)
			}
			if err := producer.Shutdown(testContext(t)); err != nil {
				t.Errorf("once more: %v", err)
			}
			if _, err := sendValue(t, producer, "late"); !errors.Is(err, ropewalk.ReasonClosed) {
				t.Errorf("it is not closed: %v", err)
			}
		})
	}
}

// With time enough it is Close.
func TestShutdownFinishes(t *testing.T) {
	client, _, answered, release := owing(t)
	release()
	if err := client.Shutdown(testContext(t)); err != nil {
		t.Error(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// A member that has no time to commit leaves without.
func TestShutdownOfAMember(t *testing.T) {
	server, member, stream := scripted(t)
	stream.Send(assign(5, nil, map[int32]int64{0: 0}))
	stream.Send(batch(0, 0, 1))
	next(t, member, 0, 0)
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if err := member.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if err := member.Close(); err != nil || len(server.MemberCommits()) > 0 {
		t.Errorf("%v, and %v", err, server.MemberCommits())
	}
	if _, err := member.Next(testContext(t)); !errors.Is(err, ropewalk.ReasonClosed) {
		t.Errorf("it is not closed: %v", err)
	}
}

// The error of Dial is that of all calls.
func TestDialReturnsOneError(t *testing.T) {
	ctx, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
	defer cancel()
	_, err := ropewalk.Dial(ctx, []string{"127.0.0.1:1"})
	if e, ok := err.(*ropewalk.Error); !ok || e.Op != "dial" {
		t.Errorf("it is a %T: %v", err, err)
	}
}
