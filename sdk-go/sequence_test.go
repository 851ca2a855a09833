package ropewalk_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

func sendValue(t *testing.T, producer *ropewalk.Producer, value string) (ropewalk.Ack, error) {
	t.Helper()
	return producer.Send(testContext(t), &ropewalk.Record{Topic: "t", Value: []byte(value)})
}

// What may have been appended is sent again, and is in the log once, in its place.
func TestIdempotentRetriesMakeNoDuplicates(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	faults := []*testserver.Fault{
		{Append: true, Status: testserver.Status(codes.Unavailable, "LEADER_CHANGED")},
		{Append: true, Cut: true},
		{Append: true, Status: testserver.Status(codes.Internal, "INTERNAL")},
		{Status: testserver.Status(codes.Unavailable, "NO_QUORUM")},
		{Append: true, Status: testserver.Status(codes.DeadlineExceeded, "TIMED_OUT")},
	}
	var tries atomic.Int32
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		if n := int(tries.Add(1)); n%2 == 1 && n/2 < len(faults) {
			return faults[n/2]
		}
		return nil
	})
	producer := newProducer(t, client, ropewalk.WithBatchBytes(100),
		ropewalk.WithRetryBackoff(func(int) time.Duration { return time.Millisecond }))
	var want []string
	var mu sync.Mutex
	offsets := map[string]int64{}
	for i := range 200 {
		want = append(want, fmt.Sprintf("value-%04d", i))
		err := producer.SendAsync(testContext(t), &ropewalk.Record{Topic: "t", Value: []byte(want[i])},
			func(r *ropewalk.Record, ack ropewalk.Ack, err error) {
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				offsets[string(r.Value)] = ack.Offset
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"), ropewalk.WithStop(ropewalk.StopCaughtUp()))
	var got []string
	for record, err := range consumer.Records(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(record.Value))
		if offsets[string(record.Value)] != record.Offset {
			t.Errorf("%s is at %d, its ack said %d", record.Value, record.Offset, offsets[string(record.Value)])
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the log has %d records, want %d: %v", len(got), len(want), got)
	}
}

// A partition that knows the producer no more, as after a long pause, is begun anew in a new epoch.
func TestForgottenProducerBeginsAnew(t *testing.T) {
	server := newServer(t)
	producer := newProducer(t, dial(t, server.Address()))
	for i := range 3 {
		server.OnProduce(func(r *pb.ProduceRequest) *testserver.Fault {
			if s := r.GetSequence(); s.GetFirstSequence() == 0 && s.GetEpoch() != uint32(i) {
				t.Errorf("epoch %d, want %d", s.GetEpoch(), i)
			}
			return nil
		})
		for n := range 3 {
			if ack, err := sendValue(t, producer, "x"); err != nil || ack.Offset != int64(3*i+n) {
				t.Fatalf("%+v, %v", ack, err)
			}
		}
		server.ForgetProducers("t", 0)
	}
}

// A batch that is given up ends its epoch: what comes after it does not wait for it, and what is late
// of it is refused.
func TestGivenUpBatchEndsItsEpoch(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	var tries atomic.Int32
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		if tries.Add(1) == 2 {
			return &testserver.Fault{Append: true, Status: testserver.Status(codes.Unavailable, "NO_QUORUM")}
		}
		return nil
	})
	producer := newProducer(t, client, ropewalk.WithMaxRetries(0))
	var e *ropewalk.Error
	for i, value := range []string{"0", "1", "2", "3"} {
		_, err := sendValue(t, producer, value)
		if i != 1 && err != nil {
			t.Fatal(err)
		}
		if i == 1 && (!errors.As(err, &e) || e.Appended() != ropewalk.OutcomeMaybe) {
			t.Fatalf("got %v", err)
		}
	}
	expect(t, newConsumer(t, client, ropewalk.WithTopics("t")), "0", "1", "2", "3")
}

func TestNewerProducerOfANameFencesTheOlder(t *testing.T) {
	client := dial(t, newServer(t).Address())
	older := newProducer(t, client, ropewalk.WithProducerName("till"))
	if _, err := sendValue(t, older, "0"); err != nil {
		t.Fatal(err)
	}
	newer := newProducer(t, client, ropewalk.WithProducerName("till"))
	if _, err := sendValue(t, newer, "1"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := sendValue(t, older, "2")
		var e *ropewalk.Error
		if !errors.Is(err, ropewalk.ReasonProducerFenced) || !errors.As(err, &e) ||
			e.Appended() != ropewalk.OutcomeNo || !e.Fatal() {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := sendValue(t, newer, "3"); err != nil {
		t.Fatal(err)
	}
	bad := newProducer(t, client, ropewalk.WithProducerName("no\nname"))
	if _, err := sendValue(t, bad, "4"); !errors.Is(err, ropewalk.ReasonInvalidField) {
		t.Errorf("got %v", err)
	}
	expect(t, newConsumer(t, client, ropewalk.WithTopics("t")), "0", "1", "3")
}

// A producer that has lost its name, and does not know it, must not get it back by going on after what
// it has given up.
func TestWhoeverGivesUpABatchDoesNotTakeItsNameBack(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	older := newProducer(t, client, ropewalk.WithProducerName("till"), ropewalk.WithMaxRetries(0))
	newer := newProducer(t, client, ropewalk.WithProducerName("till"))
	var lost atomic.Bool
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		if lost.CompareAndSwap(true, false) {
			return &testserver.Fault{Status: testserver.Status(codes.Unavailable, "NO_QUORUM")}
		}
		return nil
	})
	send := func(producer *ropewalk.Producer, value string, reason ropewalk.Reason) {
		t.Helper()
		if _, err := sendValue(t, producer, value); err != nil != (reason != "") ||
			err != nil && !errors.Is(err, reason) {
			t.Fatalf("%s: got %v", value, err)
		}
	}
	send(older, "0", "")
	send(newer, "1", "")
	lost.Store(true)
	send(older, "lost", "NO_QUORUM")
	send(older, "late", ropewalk.ReasonProducerFenced)
	send(newer, "2", "")
	expect(t, newConsumer(t, client, ropewalk.WithTopics("t")), "0", "1", "2")
}

func TestNumbersAreForWhoWaitsForAMajority(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	server.OnProduce(func(r *pb.ProduceRequest) *testserver.Fault {
		if r.GetSequence() != nil {
			t.Errorf("it has a number: %v", r)
		}
		return nil
	})
	for _, option := range []ropewalk.ProducerOption{
		ropewalk.WithoutIdempotence(),
		ropewalk.WithDurability(ropewalk.DurabilityLeader),
		ropewalk.WithDurability(ropewalk.DurabilityNone),
	} {
		if _, err := sendValue(t, newProducer(t, client, option), "x"); err != nil {
			t.Error(err)
		}
	}
}

// An append by itself is made again too, and a condition that it has changed itself does not fail.
func TestSingleAppendIsMadeAgainAndIsThereOnce(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	producer := newProducer(t, client)
	var lost atomic.Bool
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		if lost.CompareAndSwap(true, false) {
			status := testserver.Status(codes.Unavailable, "LEADER_CHANGED")
			return &testserver.Fault{Append: true, Status: status}
		}
		return nil
	})
	record := []*ropewalk.Record{{Value: []byte("value")}}
	for want := range int64(3) {
		lost.Store(true)
		ack, err := producer.Append(testContext(t), "t", 0, record, ropewalk.IfOffset(want))
		if err != nil || ack.Offset != want {
			t.Fatalf("got %v, %v; want offset %d", ack, err, want)
		}
	}
	if values, err := server.Values("t", 0); err != nil || len(values) != 3 {
		t.Fatalf("got %q, %v", values, err)
	}

	lost.Store(true)
	plain := newProducer(t, client, ropewalk.WithoutIdempotence())
	_, err := plain.Append(testContext(t), "t", 0, record)
	var e *ropewalk.Error
	if !errors.As(err, &e) || e.Appended() != ropewalk.OutcomeMaybe {
		t.Fatalf("got %v", err)
	}
}
