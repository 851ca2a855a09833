package ropewalk_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// What an error says of itself, for a line of the contract's table each.
func TestErrors(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	producer := newProducer(t, client, ropewalk.WithMaxRetries(0))
	for _, c := range []struct {
		reason           string
		code             codes.Code
		outcome          ropewalk.Outcome
		retriable, fatal bool
	}{
		{"TOPIC_NOT_FOUND", codes.NotFound, ropewalk.OutcomeNo, false, false},
		{"TOPIC_EXISTS", codes.AlreadyExists, ropewalk.OutcomeNo, false, false},
		{"INVALID_FIELD", codes.InvalidArgument, ropewalk.OutcomeNo, false, false},
		{"EXPECTED_OFFSET_MISMATCH", codes.Aborted, ropewalk.OutcomeNo, false, false},
		{"EXPECTED_VERSION_MISMATCH", codes.Aborted, ropewalk.OutcomeNo, false, false},
		{"KEYS_UNREAD", codes.Unavailable, ropewalk.OutcomeNo, true, false},
		{"TOO_MANY_KEYS", codes.ResourceExhausted, ropewalk.OutcomeNo, false, false},
		{"OFFSET_OUT_OF_RANGE", codes.OutOfRange, ropewalk.OutcomeNo, false, false},
		{"NOT_LEADER", codes.Unavailable, ropewalk.OutcomeNo, true, false},
		{"NO_LEADER", codes.Unavailable, ropewalk.OutcomeNo, true, false},
		{"BROKER_DRAINING", codes.Unavailable, ropewalk.OutcomeNo, true, false},
		{"NO_QUORUM", codes.Unavailable, ropewalk.OutcomeMaybe, true, false},
		{"LEADER_CHANGED", codes.Unavailable, ropewalk.OutcomeMaybe, true, false},
		{"A_NEW_REASON", codes.Unavailable, ropewalk.OutcomeMaybe, true, false},
		{"TIMED_OUT", codes.DeadlineExceeded, ropewalk.OutcomeMaybe, true, false},
		{"OVERLOADED", codes.ResourceExhausted, ropewalk.OutcomeNo, true, false},
		{"STORAGE_FULL", codes.ResourceExhausted, ropewalk.OutcomeNo, true, false},
		{"CORRUPT_LOG", codes.DataLoss, ropewalk.OutcomeNo, false, true},
		{"INTERNAL", codes.Internal, ropewalk.OutcomeMaybe, true, false},
		{"PERMISSION_DENIED", codes.PermissionDenied, ropewalk.OutcomeNo, false, true},
	} {
		st := testserver.Status(c.code, c.reason, "key", "value")
		server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault { return &testserver.Fault{Status: st} })
		_, err := producer.Send(testContext(t), &ropewalk.Record{Topic: "t"})
		var e *ropewalk.Error
		if !errors.As(err, &e) {
			t.Fatalf("%s: got %v", c.reason, err)
		}
		if !errors.Is(err, ropewalk.Reason(c.reason)) || e.Code() != c.code || e.Metadata["key"] != "value" ||
			status.Code(err) != c.code || len(status.Convert(err).Details()) != 1 {
			t.Errorf("%s: incomplete: %#v", c.reason, e)
		}
		if e.Appended() != c.outcome || e.Retriable() != c.retriable || e.Fatal() != c.fatal {
			t.Errorf("%s: appended %v, retriable %v, fatal %v", c.reason, e.Appended(), e.Retriable(), e.Fatal())
		}
		if !strings.HasPrefix(err.Error(), "ropewalk: produce: ") || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s reads %q", c.reason, err)
		}
	}
}

// A call that is refused again and again ends when its time is up, and says why it was refused, or that
// no answer came in time.
func TestRequestTimeout(t *testing.T) {
	server := newServer(t)
	const limit = 200 * time.Millisecond
	client := dial(t, server.Address(), ropewalk.WithRequestTimeout(limit))
	producer := newProducer(t, client)
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		time.Sleep(time.Millisecond)
		return &testserver.Fault{Status: testserver.Status(codes.Unavailable, "NO_LEADER")}
	})
	started := time.Now()
	_, err := producer.Append(testContext(t), "t", 0, []*ropewalk.Record{{}})
	if !errors.Is(err, ropewalk.ReasonNoLeader) && !errors.Is(err, ropewalk.ReasonTimedOut) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(started); took > 10*limit {
		t.Errorf("it took %v", took)
	}
	release := make(chan struct{})
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault { <-release; return nil })
	_, err = producer.Append(testContext(t), "t", 0, []*ropewalk.Record{{}})
	close(release)
	var e *ropewalk.Error
	if !errors.Is(err, ropewalk.ReasonTimedOut) || !errors.As(err, &e) || e.Appended() != ropewalk.OutcomeMaybe {
		t.Errorf("got %v", err)
	}
}

// A write waits for a broker that is away, and is sure that it did nothing when none comes.
func TestWritesWaitForAConnection(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address(), ropewalk.WithRequestTimeout(3*time.Second))
	server.Stop()
	time.Sleep(100 * time.Millisecond)
	created := make(chan error, 1)
	go func() {
		_, err := client.Admin().CreateTopic(testContext(t), "t", 1)
		created <- err
	}()
	time.Sleep(200 * time.Millisecond)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-created; err != nil {
		t.Error(err)
	}
	server.Stop()
	time.Sleep(100 * time.Millisecond)
	err := client.Admin().DeleteTopic(testContext(t), "t")
	var e *ropewalk.Error
	if !errors.Is(err, ropewalk.ReasonUnreachable) || !errors.As(err, &e) || e.Appended() != ropewalk.OutcomeNo {
		t.Errorf("got %v", err)
	}
}

func TestDial(t *testing.T) {
	server := newServer(t)
	server.Stop()
	ctx := testContext(t)
	_, err := ropewalk.Dial(ctx, []string{server.Address()})
	var e *ropewalk.Error
	if !errors.Is(err, ropewalk.ReasonUnreachable) || !errors.As(err, &e) || !e.Retriable() || e.Appended() != ropewalk.OutcomeNo {
		t.Errorf("nobody there: %v", err)
	}
	for _, addresses := range [][]string{nil, {"localhost"}, {":9092"}, {"localhost:"}} {
		if _, err := ropewalk.Dial(ctx, addresses); !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("%q: %v", addresses, err)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := ropewalk.Dial(gone, []string{server.Address()}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	ctx, client := testContext(t), dial(t, newServer(t).Address())
	for i, option := range []ropewalk.ClientOption{
		ropewalk.WithLogger(nil), ropewalk.WithDialTimeout(0), ropewalk.WithRequestTimeout(-1),
		ropewalk.WithMetadataAge(0), ropewalk.WithKeepAlive(time.Second),
	} {
		if _, err := ropewalk.Dial(ctx, []string{"localhost:1"}, option); !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("client option %d: %v", i, err)
		}
	}
	for i, option := range []ropewalk.ProducerOption{
		ropewalk.WithDurability(0), ropewalk.WithDurability(9), ropewalk.WithPartitioner(nil),
		ropewalk.WithBatchBytes(0), ropewalk.WithBatchBytes(4 << 20), ropewalk.WithBufferBytes(0),
		ropewalk.WithAnswerTimeout(0), ropewalk.WithDeliveryTimeout(time.Second),
		ropewalk.WithMaxRetries(-1), ropewalk.WithRetryBackoff(nil),
	} {
		if _, err := client.NewProducer(option); !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("producer option %d: %v", i, err)
		}
	}
	for i, option := range []ropewalk.ConsumerOption{
		ropewalk.WithTopics("t"), ropewalk.WithPartition("t", 0, ropewalk.Start{}), ropewalk.WithFetchBytes(0),
		ropewalk.WithFetchBytes(4 << 20), ropewalk.WithReadAhead(0), ropewalk.WithHeartbeat(time.Millisecond),
		ropewalk.WithReconnectBackoff(nil),
	} {
		if _, err := client.NewConsumer(ctx, ropewalk.WithTopics("t"), option); !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("consumer option %d: %v", i, err)
		}
	}
}

func TestClosedClient(t *testing.T) {
	ctx, client := testContext(t), dial(t, newServer(t).Address())
	producer, consumer := newProducer(t, client), newConsumer(t, client, ropewalk.WithTopics("t"))
	for range 2 {
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, newProducerErr := client.NewProducer()
	_, newConsumerErr := client.NewConsumer(ctx, ropewalk.WithTopics("t"))
	_, clusterErr := client.Admin().GetCluster(ctx)
	_, sendErr := producer.Send(ctx, &ropewalk.Record{Topic: "t"})
	_, unknownErr := producer.Send(ctx, &ropewalk.Record{Topic: "unknown"})
	_, nextErr := consumer.Next(ctx)
	for i, err := range []error{newProducerErr, newConsumerErr, clusterErr, sendErr, unknownErr, nextErr} {
		if !errors.Is(err, ropewalk.ReasonClosed) {
			t.Errorf("%d: got %v", i, err)
		}
	}
}
