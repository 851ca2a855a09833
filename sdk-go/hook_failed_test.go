package ropewalk_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// failed is how many records of an event have ended without a batch, by where they were to go and why.
type failed struct {
	to  ropewalk.TopicPartition
	why ropewalk.Reason
}

func failures(w *witness) map[failed]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := map[failed]int{}
	for _, event := range w.events {
		if e, ok := event.(ropewalk.RecordsFailed); ok {
			var why *ropewalk.Error
			errors.As(e.Err, &why)
			counts[failed{e.TopicPartition, why.Reason}] += e.Records
		}
	}
	return counts
}

// Each record has one outcome that hooks are told of: with its batch, or without one.
func TestHooksAreToldOfRecordsWithoutABatch(t *testing.T) {
	server, w := newServer(t), newWitness()
	client := dial(t, server.Address(), ropewalk.WithHooks(w), ropewalk.WithoutTopicCreation())
	if _, err := client.Admin().CreateTopic(testContext(t), "t", 1); err != nil {
		t.Fatal(err)
	}
	arrived, release := holdAnswers(server)
	producer := newProducer(t, client)
	ended, cancel := context.WithCancel(testContext(t))
	cancel()
	record := &ropewalk.Record{Topic: "t", Value: []byte("v")}
	send := func(ctx context.Context, r *ropewalk.Record) {
		t.Helper()
		if _, err := producer.Send(ctx, r); err == nil {
			t.Error("it was sent")
		}
	}
	send(ended, record)
	send(testContext(t), &ropewalk.Record{Topic: "none"})
	send(testContext(t), &ropewalk.Record{Topic: "t", Value: make([]byte, 2<<20)})
	later := func() {
		t.Helper()
		if err := producer.SendAsync(testContext(t), record, nil); err != nil {
			t.Fatal(err)
		}
	}
	later()
	<-arrived // what comes now waits behind it
	later()
	later()
	if n := producer.Purge(); n != 2 {
		t.Fatalf("%d were given up", n)
	}
	close(release)
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	send(testContext(t), record)
	_, err := producer.Append(testContext(t), "t", 0, []*ropewalk.Record{record, record, record})
	if !errors.Is(err, ropewalk.ReasonClosed) {
		t.Error(err)
	}
	nowhere, at := ropewalk.TopicPartition{Topic: "t", Partition: ropewalk.NoPartition},
		ropewalk.TopicPartition{Topic: "t"}
	want := map[failed]int{
		{nowhere, ropewalk.ReasonCanceled}:       1,
		{nowhere, ropewalk.ReasonRecordTooLarge}: 1,
		{nowhere, ropewalk.ReasonClosed}:         1,
		{at, ropewalk.ReasonPurged}:              2,
		{at, ropewalk.ReasonClosed}:              3,
		{ropewalk.TopicPartition{Topic: "none", Partition: ropewalk.NoPartition},
			ropewalk.ReasonTopicNotFound}: 1,
	}
	got := failures(w)
	for what, n := range want {
		if got[what] != n {
			t.Errorf("%v: %d, not %d", what, got[what], n)
		}
	}
	if len(got) != len(want) || count[ropewalk.BatchAnswered](w) != 1 {
		t.Errorf("told of %v and %d batches", got, count[ropewalk.BatchAnswered](w))
	}
}

// A caller that gives up is told of once, whether its record waits or is under way.
func TestHooksAreToldOfCallersThatGiveUp(t *testing.T) {
	server, w := newServer(t), newWitness()
	client := dial(t, server.Address(), ropewalk.WithHooks(w))
	arrived, release := holdAnswers(server)
	producer := newProducer(t, client)
	give := func() (giveUp func()) {
		ctx, cancel := context.WithCancel(testContext(t))
		done := make(chan error, 1)
		go func() {
			_, err := producer.Send(ctx, &ropewalk.Record{Topic: "t", Value: []byte("v")})
			done <- err
		}()
		return func() {
			cancel()
			if err := <-done; !errors.Is(err, ropewalk.ReasonCanceled) {
				t.Error(err)
			}
		}
	}
	underWay := give()
	<-arrived
	waits := give()
	underWay()
	waits()
	if got := failures(w); len(got) != 1 || count[ropewalk.RecordsFailed](w) != 1 {
		t.Errorf("told of %v", got)
	}
	close(release)
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count[ropewalk.BatchAnswered](w); n != 1 {
		t.Errorf("told of %d batches", n)
	}
}

// A member that leaves says what it had: by Close, and when it ends with an error.
func TestHooksAreToldOfMembersThatLeave(t *testing.T) {
	for how, leave := range map[string]func(*ropewalk.GroupConsumer, *testserver.Member){
		"close": func(*ropewalk.GroupConsumer, *testserver.Member) {},
		"error": func(member *ropewalk.GroupConsumer, stream *testserver.Member) {
			stream.End(testserver.Status(codes.PermissionDenied, "PERMISSION_DENIED").Err())
			_, err := member.Next(testContext(t))
			if !errors.Is(err, ropewalk.ReasonPermissionDenied) {
				t.Error(err)
			}
		},
	} {
		t.Run(how, func(t *testing.T) {
			w := newWitness()
			_, member, stream := scriptedFor(t, []ropewalk.ClientOption{ropewalk.WithHooks(w)})
			stream.Send(assign(5, nil, map[int32]int64{0: 0, 1: 0}))
			stream.Send(batch(0, 0, 1))
			next(t, member, 0, 0)
			id := member.MemberID()
			leave(member, stream)
			for range 2 {
				if err := member.Close(); err != nil {
					t.Fatal(err)
				}
			}
			e := anyOf[left](t, w)
			if e.Group != "g" || e.Member != id || len(e.Positions) != 2 || e.Positions[0].Offset != 1 {
				t.Errorf("left: %+v", e)
			}
			if n := count[left](w); n != 1 {
				t.Errorf("told %d times", n)
			}
		})
	}
}
