package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

func TestLatestIsPinned(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		topic := newName("latest")
		produce(t, client, topic, "old")
		consumer := newConsumer(t, client, ropewalk.WithPartition(topic, 0, ropewalk.StartLatest()))
		produce(t, client, topic, "new", "newer")
		records := expect(t, consumer, "new", "newer")
		if records[0].Offset != 1 || records[1].Offset != 2 {
			t.Errorf("offsets %d and %d, want 1 and 2", records[0].Offset, records[1].Offset)
		}
	})
}

func TestStartsAndStops(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, topic, group := testContext(t), newName("starts"), newName("group")
		base := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
		producer := newProducer(t, client)
		for i := range 6 {
			record := &ropewalk.Record{Topic: topic, Value: fmt.Append(nil, i), Timestamp: base.Add(time.Duration(i) * time.Hour)}
			if _, err := producer.Send(ctx, record); err != nil {
				t.Fatal(err)
			}
		}
		err := client.Admin().CommitOffset(ctx, group, ropewalk.CommittedOffset{
			TopicPartition: ropewalk.TopicPartition{Topic: topic}, Offset: 4})
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			start ropewalk.Start
			stop  ropewalk.Stop
			want  []string
		}{
			"earliest, offset":    {ropewalk.StartEarliest(), ropewalk.StopOffset(2), []string{"0", "1"}},
			"zero, caught up":     {ropewalk.Start{}, ropewalk.StopCaughtUp(), []string{"0", "1", "2", "3", "4", "5"}},
			"offset, caught up":   {ropewalk.StartOffset(5), ropewalk.StopCaughtUp(), []string{"5"}},
			"end, caught up":      {ropewalk.StartOffset(6), ropewalk.StopCaughtUp(), nil},
			"time, time":          {ropewalk.StartTime(base.Add(time.Hour)), ropewalk.StopTime(base.Add(3 * time.Hour)), []string{"1", "2"}},
			"committed":           {ropewalk.StartCommitted(group), ropewalk.StopCaughtUp(), []string{"4", "5"}},
			"nothing committed":   {ropewalk.StartCommitted("x" + group), ropewalk.StopOffset(1), []string{"0"}},
			"nothing, but latest": {ropewalk.StartCommittedOrLatest("x" + group), ropewalk.StopCaughtUp(), nil},
		} {
			consumer := newConsumer(t, client, ropewalk.WithTopics(topic), ropewalk.WithStart(c.start), ropewalk.WithStop(c.stop))
			var got []string
			for record, err := range consumer.Records(ctx) {
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got = append(got, string(record.Value))
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
			}
			if _, err := consumer.Next(ctx); !errors.Is(err, io.EOF) {
				t.Errorf("%s: after the end: %v", name, err)
			}
			if err := consumer.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestGapIsReported(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, topic := testContext(t), newName("gap")
		produce(t, client, topic, "0", "1", "2", "3")
		if _, err := client.Admin().DeleteRecords(ctx, topic, map[int32]int64{0: 3}); err != nil {
			t.Fatal(err)
		}
		consumer := newConsumer(t, client, ropewalk.WithPartition(topic, 0, ropewalk.StartOffset(1)))
		_, err := consumer.Next(ctx)
		var gap *ropewalk.Gap
		if !errors.Is(err, ropewalk.ReasonGap) || !errors.As(err, &gap) {
			t.Fatalf("got %v", err)
		}
		if gap.Topic != topic || gap.From != 1 || gap.To != 3 {
			t.Errorf("gap %+v, want 1 to 3", gap)
		}
		expect(t, consumer, "3")

		var handled ropewalk.Gap
		consumer = newConsumer(t, client, ropewalk.WithPartition(topic, 0, ropewalk.StartOffset(0)),
			ropewalk.WithGapHandler(func(g ropewalk.Gap) { handled = g }))
		expect(t, consumer, "3")
		if handled.From != 0 || handled.To != 3 {
			t.Errorf("handled gap %+v, want 0 to 3", handled)
		}
	})
}

func TestConsumerRefusals(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, topic := testContext(t), newName("refuse")
		produce(t, client, topic, "0")
		for name, c := range map[string]struct {
			option ropewalk.ConsumerOption
			want   ropewalk.Reason
		}{
			"beyond the end": {ropewalk.WithPartition(topic, 0, ropewalk.StartOffset(9)), ropewalk.ReasonOffsetOutOfRange},
			"negative":       {ropewalk.WithPartition(topic, 0, ropewalk.StartOffset(-5)), ropewalk.ReasonOffsetOutOfRange},
			"partition":      {ropewalk.WithPartition(topic, 7, ropewalk.StartEarliest()), ropewalk.ReasonPartitionNotFound},
			"name":           {ropewalk.WithTopics("no/slash"), ropewalk.ReasonInvalidTopicName},
		} {
			if _, err := client.NewConsumer(ctx, c.option); !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %s", name, err, c.want)
			}
		}
		if _, err := client.NewConsumer(ctx); !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("no topic: %v", err)
		}
	})
}

func TestPositionsAndCommit(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, topic, group := testContext(t), newName("commit"), newName("group")
		produce(t, client, topic, "0", "1", "2")
		consumer := newConsumer(t, client, ropewalk.WithTopics(topic))
		expect(t, consumer, "0", "1")
		at, ok := consumer.Position(topic, 0)
		if !ok || at.Offset != 2 || at.HighWatermark != 3 || at.Lag() != 1 {
			t.Errorf("position %+v", at)
		}
		if err := consumer.Commit(ctx, group); err != nil {
			t.Fatal(err)
		}
		committed, err := consumer.GetCommittedOffsets(ctx, group)
		if err != nil || len(committed) != 1 || committed[0].Offset != 2 || committed[0].Topic != topic {
			t.Fatalf("committed %+v (%v)", committed, err)
		}
		other := newName("other")
		produce(t, client, other, "0")
		if none, err := consumer.GetCommittedOffsets(ctx, group, other); err != nil || len(none) != 0 {
			t.Errorf("other topic: %v (%v)", none, err)
		}
		_, err = consumer.GetCommittedOffsets(ctx, group, "no-such-topic")
		if !errors.Is(err, ropewalk.ReasonTopicNotFound) {
			t.Errorf("unknown topic: %v", err)
		}
	})
}

func TestAddedPartitionsJoin(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, topic := testContext(t), newName("join")
		produce(t, client, topic, "0")
		consumer := newConsumer(t, client, ropewalk.WithTopics(topic), ropewalk.WithStart(ropewalk.StartLatest()))
		if _, err := client.Admin().AddPartitions(ctx, topic, 2); err != nil {
			t.Fatal(err)
		}
		producer := newProducer(t, client, ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
		if _, err := producer.Send(ctx, &ropewalk.Record{Topic: topic, Partition: 1, Value: []byte("joined")}); err != nil {
			t.Fatal(err)
		}
		expect(t, consumer, "joined")
	})
}

// The stream is cut again and again while records are read: each arrives once, in order.
func TestConsumerResumes(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	const count = 300
	var broken atomic.Int32
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"), ropewalk.WithFetchBytes(64),
		ropewalk.WithReconnectBackoff(func(int) time.Duration { return time.Millisecond }),
		ropewalk.WithErrorHandler(func(error) { broken.Add(1) }))
	// Cut while the producer is idle, so that nothing of its is lost or doubled.
	producer := newProducer(t, client, ropewalk.WithRetryMaybe())
	for i := range count {
		if _, err := producer.Send(testContext(t), &ropewalk.Record{Topic: "t", Value: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
		expect(t, consumer, fmt.Sprint(i))
		switch i {
		case 50, 200:
			server.CutConnections()
		case 100:
			server.EndSubscribes(testserver.Status(codes.Unavailable, "BROKER_DRAINING").Err())
		}
	}
	if broken.Load() < 3 {
		t.Errorf("the stream broke %d times: this tested nothing", broken.Load())
	}
}

// The end that was fixed at the start holds also when the stream is opened again.
func TestCaughtUpSurvivesReconnect(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	produce(t, client, "t", "0", "1", "2")
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"), ropewalk.WithStop(ropewalk.StopCaughtUp()),
		ropewalk.WithFetchBytes(1), ropewalk.WithReadAhead(1))
	server.OnSubscribe(nil)
	server.EndSubscribes(testserver.Status(codes.Unavailable, "BROKER_DRAINING").Err())
	produce(t, client, "t", "3")
	expect(t, consumer, "0", "1", "2")
	if _, err := consumer.Next(testContext(t)); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func TestSilentStreamIsReplaced(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	var calls atomic.Int32
	hung := make(chan struct{})
	defer close(hung)
	server.OnSubscribe(func(r *pb.SubscribeRequest) error {
		if calls.Add(1) == 1 {
			<-hung
		}
		return nil
	})
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"), ropewalk.WithHeartbeat(100*time.Millisecond))
	produce(t, client, "t", "x")
	expect(t, consumer, "x")
}

func TestReplacedTopicEndsTheConsumer(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	ctx := testContext(t)
	produce(t, client, "t", "old", "old too")
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"))
	expect(t, consumer, "old", "old too")
	server.Stop()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the client notices; what it sends from then on waits
	// The stream may notice the deletion, or meet the new topic when it resumes.
	if err := client.Admin().DeleteTopic(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	produce(t, client, "t", "new", "new too", "new three")
	_, err := consumer.Next(ctx)
	if !errors.Is(err, ropewalk.ReasonTopicReplaced) && !errors.Is(err, ropewalk.ReasonTopicNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestNextGivesUpAndGoesOn(t *testing.T) {
	client := dial(t, newServer(t).Address())
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"))
	short, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
	defer cancel()
	if _, err := consumer.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	produce(t, client, "t", "x")
	records, err := consumer.Poll(testContext(t))
	if err != nil || len(records) != 1 || string(records[0].Value) != "x" {
		t.Errorf("got %v, %v", records, err)
	}
	if err := consumer.Close(); err != nil {
		t.Error(err)
	}
	if _, err := consumer.Next(testContext(t)); !errors.Is(err, ropewalk.ReasonClosed) {
		t.Errorf("after Close: %v", err)
	}
}
