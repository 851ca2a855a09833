package ropewalk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

func TestSendGivesPartitionAndOffset(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		topic := newName("send")
		for _, durability := range []ropewalk.Durability{
			ropewalk.DurabilityQuorum, ropewalk.DurabilityLeader, ropewalk.DurabilityNone,
		} {
			producer := newProducer(t, client, ropewalk.WithDurability(durability))
			ack, err := producer.Send(testContext(t), &ropewalk.Record{Topic: topic, Value: []byte("x")})
			if err != nil {
				t.Fatal(err)
			}
			if want := int64(durability - ropewalk.DurabilityQuorum); ack.Partition != 0 || ack.Offset != want {
				t.Errorf("%v: appended at %d/%d, want 0/%d", durability, ack.Partition, ack.Offset, want)
			}
			if ack.Achieved > durability || ack.Achieved < ropewalk.DurabilityQuorum || ack.AppendTime.IsZero() {
				t.Errorf("%v: incomplete ack %+v", durability, ack)
			}
			if err := producer.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Records of one key keep the order in which one goroutine sent them, over many partitions, and
// every ack names the place where the record is found.
func TestOrderAndPlaces(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, topic := testContext(t), newName("order")
		if _, err := client.Admin().CreateTopic(ctx, topic, 4); err != nil {
			t.Fatal(err)
		}
		producer := newProducer(t, client, ropewalk.WithBatchBytes(4<<10))
		const keys, each = 8, 500
		type at struct {
			partition int32
			offset    int64
		}
		var mu sync.Mutex
		places := map[string]at{}
		for i := range each {
			for key := range keys {
				value := fmt.Sprintf("%d:%d", key, i)
				record := &ropewalk.Record{Topic: topic, Key: fmt.Append(nil, "key-", key), Value: []byte(value)}
				err := producer.SendAsync(ctx, record, func(_ *ropewalk.Record, ack ropewalk.Ack, err error) {
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					places[value] = at{ack.Partition, ack.Offset}
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := producer.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if err := producer.Close(); err != nil {
			t.Fatal(err)
		}
		consumer := newConsumer(t, client, ropewalk.WithTopics(topic), ropewalk.WithStop(ropewalk.StopCaughtUp()))
		next := map[string]int{}
		count := 0
		for record, err := range consumer.Records(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			count++
			key := string(record.Key)
			value := strings.TrimPrefix(key, "key-") + ":" + fmt.Sprint(next[key])
			if string(record.Value) != value {
				t.Fatalf("%s: got %s, want %s", key, record.Value, value)
			}
			next[key]++
			if got := (at{record.Partition, record.Offset}); places[value] != got {
				t.Fatalf("%s is at %v, its ack said %v", value, got, places[value])
			}
			if want := ropewalk.KeyPartition(record.Key, 4); record.Partition != want {
				t.Fatalf("%s is on partition %d, want %d", key, record.Partition, want)
			}
		}
		if count != keys*each {
			t.Errorf("read %d records, want %d", count, keys*each)
		}
	})
}

func TestAbsentAndEmptyDiffer(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, topic := testContext(t), newName("absent")
		made := time.Date(2024, 2, 29, 12, 0, 0, 123_000_000, time.UTC)
		producer := newProducer(t, client)
		for _, record := range []*ropewalk.Record{
			{},
			{Key: []byte{}, Value: []byte{}},
			{Key: []byte("k"), Headers: []ropewalk.Header{{Key: "a"}, {Key: "a", Value: []byte{}}, {Key: "b", Value: []byte{0xff}}}},
			{Value: []byte("v"), Timestamp: made},
		} {
			record.Topic = topic
			if _, err := producer.Send(ctx, record); err != nil {
				t.Fatal(err)
			}
		}
		if err := producer.Close(); err != nil {
			t.Fatal(err)
		}
		consumer := newConsumer(t, client, ropewalk.WithTopics(topic))
		got := expect(t, consumer, "", "", "", "v")
		if got[0].Key != nil || got[0].Value != nil {
			t.Errorf("absent key and value became %v and %v", got[0].Key, got[0].Value)
		}
		if got[1].Key == nil || got[1].Value == nil {
			t.Errorf("empty key and value became absent")
		}
		h := got[2].Headers
		if len(h) != 3 || h[0].Value != nil || h[1].Value == nil || !bytes.Equal(h[2].Value, []byte{0xff}) {
			t.Errorf("headers came as %v", h)
		}
		if got[0].Timestamp.IsZero() || !got[3].Timestamp.Equal(made) {
			t.Errorf("timestamps came as %v and %v", got[0].Timestamp, got[3].Timestamp)
		}
	})
}

func TestRecordSizeLimit(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, topic := testContext(t), newName("limit")
		const limit = 10_000
		if _, err := client.Admin().CreateTopic(ctx, topic, 1, ropewalk.MaxRecordBytes(limit)); err != nil {
			t.Fatal(err)
		}
		producer := newProducer(t, client)
		const frame = 3 // tag and length of the value
		for _, size := range []int{limit - frame - 1, limit - frame} {
			if _, err := producer.Send(ctx, &ropewalk.Record{Topic: topic, Value: make([]byte, size)}); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
		_, err := producer.Send(ctx, &ropewalk.Record{Topic: topic, Value: make([]byte, limit-frame+1)})
		if !errors.Is(err, ropewalk.ReasonRecordTooLarge) {
			t.Errorf("one byte too many: %v", err)
		}
	})
}

// A batch that the broker refuses for one record in it fails for that record alone.
func TestOneBadRecordFailsAlone(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	server.OnProduce(func(r *pb.ProduceRequest) *testserver.Fault {
		time.Sleep(5 * time.Millisecond) // so that records gather
		for _, record := range r.GetRecords().GetRecords() {
			if string(record.GetValue()) == "bad" {
				return &testserver.Fault{Status: testserver.Status(codes.InvalidArgument, "INVALID_FIELD")}
			}
		}
		return nil
	})
	topic := newName("bad")
	producer := newProducer(t, client)
	var failed, good atomic.Int32
	for i := range 100 {
		value := fmt.Sprint(i)
		if i%40 == 7 {
			value = "bad"
		}
		err := producer.SendAsync(testContext(t), &ropewalk.Record{Topic: topic, Value: []byte(value)},
			func(r *ropewalk.Record, _ ropewalk.Ack, err error) {
				if (err != nil) != (string(r.Value) == "bad") {
					t.Errorf("%s: %v", r.Value, err)
				}
				if err != nil {
					failed.Add(1)
				} else {
					good.Add(1)
				}
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	if failed.Load() != 3 || good.Load() != 97 {
		t.Errorf("%d failed and %d did not, want 3 and 97", failed.Load(), good.Load())
	}
	consumer := newConsumer(t, client, ropewalk.WithTopics(topic), ropewalk.WithStop(ropewalk.StopCaughtUp()))
	last := -1
	for record, err := range consumer.Records(testContext(t)) {
		var n int
		if _, scan := fmt.Sscan(string(record.Value), &n); err != nil || scan != nil || n <= last {
			t.Fatalf("got %s after %d (%v)", record.Value, last, err)
		}
		last = n
	}
}

func TestRetriesFollowTheContract(t *testing.T) {
	refuse := func(code codes.Code, reason string) *testserver.Fault {
		return &testserver.Fault{Status: testserver.Status(code, reason)}
	}
	unsafe := []ropewalk.ProducerOption{ropewalk.WithoutIdempotence()}
	for _, c := range []struct {
		name    string
		fault   *testserver.Fault
		options []ropewalk.ProducerOption
		want    ropewalk.Reason // empty: succeeds
		outcome ropewalk.Outcome
	}{
		{"not leader", refuse(codes.Unavailable, "NOT_LEADER"), nil, "", 0},
		{"no leader", refuse(codes.Unavailable, "NO_LEADER"), nil, "", 0},
		{"draining", refuse(codes.Unavailable, "BROKER_DRAINING"), nil, "", 0},
		{"overloaded", refuse(codes.ResourceExhausted, "OVERLOADED"), nil, "", 0},
		{"no quorum", refuse(codes.Unavailable, "NO_QUORUM"), unsafe, ropewalk.ReasonNoQuorum, ropewalk.OutcomeMaybe},
		{"leader changed", refuse(codes.Unavailable, "LEADER_CHANGED"), unsafe, ropewalk.ReasonLeaderChanged, ropewalk.OutcomeMaybe},
		{"timed out", refuse(codes.DeadlineExceeded, "TIMED_OUT"), unsafe, ropewalk.ReasonTimedOut, ropewalk.OutcomeMaybe},
		{"internal", refuse(codes.Internal, "INTERNAL"), unsafe, ropewalk.ReasonInternal, ropewalk.OutcomeMaybe},
		{"cut", &testserver.Fault{Cut: true}, unsafe, ropewalk.ReasonDisconnected, ropewalk.OutcomeMaybe},
		{"stream drains", &testserver.Fault{
			Status: testserver.Status(codes.Unavailable, "BROKER_DRAINING"), End: true}, nil, "", 0},
		{"stream fails", &testserver.Fault{Status: status.New(codes.Internal, "reset"), End: true},
			unsafe, ropewalk.ReasonDisconnected, ropewalk.OutcomeMaybe},
		{"refused", refuse(codes.NotFound, "PARTITION_NOT_FOUND"), nil, ropewalk.ReasonPartitionNotFound, ropewalk.OutcomeNo},
		{"no retries", refuse(codes.Unavailable, "NOT_LEADER"),
			[]ropewalk.ProducerOption{ropewalk.WithMaxRetries(0)}, ropewalk.ReasonNotLeader, ropewalk.OutcomeNo},
		{"maybe, quorum", refuse(codes.Unavailable, "NO_QUORUM"),
			append(unsafe, ropewalk.WithRetryMaybe()), "", 0},
		{"maybe, cut", &testserver.Fault{Cut: true}, append(unsafe, ropewalk.WithRetryMaybe()), "", 0},
		{"hang", &testserver.Fault{Hang: true},
			append(unsafe, ropewalk.WithAnswerTimeout(300*time.Millisecond)),
			ropewalk.ReasonTimedOut, ropewalk.OutcomeMaybe},
		{"maybe, hang", &testserver.Fault{Hang: true}, append(unsafe,
			ropewalk.WithAnswerTimeout(300*time.Millisecond), ropewalk.WithRetryMaybe()), "", 0},
		{"idempotent, no quorum", refuse(codes.Unavailable, "NO_QUORUM"), nil, "", 0},
		{"idempotent, internal", refuse(codes.Internal, "INTERNAL"), nil, "", 0},
		{"idempotent, cut", &testserver.Fault{Cut: true}, nil, "", 0},
		{"idempotent, hang", &testserver.Fault{Hang: true},
			[]ropewalk.ProducerOption{ropewalk.WithAnswerTimeout(300 * time.Millisecond)}, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := newServer(t)
			client := dial(t, server.Address())
			var tries atomic.Int32
			server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
				if tries.Add(1) == 1 {
					return c.fault
				}
				return nil
			})
			producer := newProducer(t, client, c.options...)
			_, err := producer.Send(testContext(t), &ropewalk.Record{Topic: "t", Value: []byte("x")})
			if c.want == "" {
				if err != nil || tries.Load() != 2 {
					t.Fatalf("after %d tries: %v", tries.Load(), err)
				}
				return
			}
			var e *ropewalk.Error
			if !errors.As(err, &e) || !errors.Is(err, c.want) || e.Appended() != c.outcome {
				t.Fatalf("got %v, want %s, appended %v", err, c.want, c.outcome)
			}
			if tries.Load() != 1 {
				t.Errorf("tried %d times", tries.Load())
			}
		})
	}
}

func TestRetryWaitsAsAsked(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	const pause = 400 * time.Millisecond
	var tries atomic.Int32
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		if tries.Add(1) > 1 {
			return nil
		}
		return &testserver.Fault{Status: testserver.StatusRetry(codes.ResourceExhausted, "OVERLOADED", pause)}
	})
	started := time.Now()
	if _, err := newProducer(t, client).Send(testContext(t), &ropewalk.Record{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(started); waited < pause {
		t.Errorf("retried after %v, the broker asked for %v", waited, pause)
	}
}

// Refusals at random, and order all the same: the next batch of a partition waits for the one
// before.
func TestOrderIsKeptOverRetries(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	var tries atomic.Int32
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		if n := tries.Add(1); n%3 != 0 {
			return &testserver.Fault{Status: testserver.Status(codes.Unavailable, "NOT_LEADER")}
		}
		return nil
	})
	producer := newProducer(t, client, ropewalk.WithBatchBytes(100),
		ropewalk.WithRetryBackoff(func(int) time.Duration { return time.Millisecond }))
	var want []string
	for i := range 200 {
		want = append(want, fmt.Sprintf("value-%04d", i))
		err := producer.SendAsync(testContext(t), &ropewalk.Record{Topic: "t", Value: []byte(want[i])}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, newConsumer(t, client, ropewalk.WithTopics("t")), want...)
}

func TestBufferGivesBackPressure(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	release := make(chan struct{})
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault { <-release; return nil })
	producer := newProducer(t, client, ropewalk.WithBufferBytes(4<<10))
	record := &ropewalk.Record{Topic: "t", Value: make([]byte, 1000)}
	ctx, cancel := context.WithTimeout(testContext(t), 300*time.Millisecond)
	defer cancel()
	taken := 0
	for {
		if err := producer.SendAsync(ctx, record, nil); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			break
		}
		taken++
	}
	if taken != 3 {
		t.Errorf("%d records of 1000 bytes were taken into 4 KiB, want 3", taken)
	}
	close(release)
	if err := producer.SendAsync(testContext(t), record, nil); err != nil {
		t.Error(err)
	}
}

// A caller that gives up takes back what was not sent, and learns which of the two it was.
func TestSendGivesUp(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	release, arrived := make(chan struct{}), make(chan struct{})
	var once sync.Once
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		once.Do(func() { close(arrived) })
		<-release
		return nil
	})
	producer := newProducer(t, client)
	short, cancel := context.WithTimeout(testContext(t), time.Second)
	defer cancel()
	var all sync.WaitGroup
	outcomes := map[ropewalk.Outcome]int{}
	var mu sync.Mutex
	for i := range 3 {
		all.Go(func() {
			_, err := producer.Send(short, &ropewalk.Record{Topic: "t", Value: fmt.Append(nil, i)})
			var e *ropewalk.Error
			if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			outcomes[e.Appended()]++
		})
		<-arrived // the first is under way before the others come
	}
	all.Wait()
	close(release)
	if outcomes[ropewalk.OutcomeMaybe] != 1 || outcomes[ropewalk.OutcomeNo] != 2 {
		t.Errorf("outcomes %v: one record was under way, two waited", outcomes)
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	offsets, err := client.Admin().ListOffsets(testContext(t), ropewalk.QueryLatest("t", 0))
	if err != nil || offsets[0].Offset != 1 {
		t.Errorf("the log ends at %v, want 1 (%v)", offsets, err)
	}
}

func TestProducerOutlivesABroker(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	producer := newProducer(t, client)
	send := func(value string) error {
		_, err := producer.Send(testContext(t), &ropewalk.Record{Topic: "t", Value: []byte(value)})
		return err
	}
	if err := send("before"); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	// A batch that is written before the client notices may have been appended, and is not
	// repeated.
	time.Sleep(100 * time.Millisecond)
	done := make(chan error, 1)
	go func() { done <- send("while away") }()
	time.Sleep(300 * time.Millisecond)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	expect(t, newConsumer(t, client, ropewalk.WithTopics("t")), "before", "while away")
}

func TestClosedProducer(t *testing.T) {
	client := dial(t, newServer(t).Address())
	producer := newProducer(t, client)
	for range 2 {
		if err := producer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := producer.Send(testContext(t), &ropewalk.Record{Topic: "t"}); !errors.Is(err, ropewalk.ReasonClosed) {
		t.Errorf("got %v", err)
	}
}

func TestProducerRefuses(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	producer := newProducer(t, client, ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
	for name, c := range map[string]struct {
		record *ropewalk.Record
		want   ropewalk.Reason
	}{
		"no topic":       {&ropewalk.Record{}, ropewalk.ReasonInvalidTopicName},
		"topic no UTF-8": {&ropewalk.Record{Topic: "\xff"}, ropewalk.ReasonInvalidTopicName},
		"bad topic":      {&ropewalk.Record{Topic: ".."}, ropewalk.ReasonInvalidTopicName},
		"bad header": {&ropewalk.Record{Topic: "t", Headers: []ropewalk.Header{{Key: "\xff"}}},
			ropewalk.ReasonInvalidField},
		"bad time":     {&ropewalk.Record{Topic: "t", Timestamp: time.Unix(1<<40, 0)}, ropewalk.ReasonInvalidField},
		"partition -1": {&ropewalk.Record{Topic: "t", Partition: -1}, ropewalk.ReasonInvalidField},
		"partition 1":  {&ropewalk.Record{Topic: "t", Partition: 1}, ropewalk.ReasonPartitionNotFound},
	} {
		if _, err := producer.Send(testContext(t), c.record); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	server.AutoCreate = false
	_, err := producer.Send(testContext(t), &ropewalk.Record{Topic: "unknown"})
	if !errors.Is(err, ropewalk.ReasonTopicNotFound) {
		t.Errorf("unknown topic: %v", err)
	}
}

// A broker that sends its connections away, as one does at the end of their age, costs no record:
// the stream moves to a new connection and the old one still answers what it owes.
func TestConnectionsGrowOld(t *testing.T) {
	server := newServer(t)
	server.Stop()
	server.ConnectionAge = 100 * time.Millisecond
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	client := dial(t, server.Address())
	producer := newProducer(t, client)
	var failed atomic.Int32
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		err := producer.SendAsync(testContext(t), &ropewalk.Record{Topic: "t", Value: make([]byte, 100)},
			func(_ *ropewalk.Record, _ ropewalk.Ack, err error) {
				if err != nil && failed.Add(1) == 1 {
					t.Error(err)
				}
			})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Microsecond)
	}
	if err := producer.Close(); err != nil {
		t.Error(err)
	}
}

func TestManyGoroutines(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, topic := testContext(t), newName("many")
		producer := newProducer(t, client)
		var all sync.WaitGroup
		var seen sync.Map
		for range 50 {
			all.Go(func() {
				for range 20 {
					ack, err := producer.Send(ctx, &ropewalk.Record{Topic: topic, Value: []byte("x")})
					if err != nil {
						t.Error(err)
						return
					}
					if _, twice := seen.LoadOrStore(ack.Offset, true); twice {
						t.Errorf("offset %d was given twice", ack.Offset)
					}
				}
			})
		}
		all.Wait()
		offsets, err := client.Admin().ListOffsets(ctx, ropewalk.QueryLatest(topic, 0))
		if err != nil || offsets[0].Offset != 1000 {
			t.Errorf("the log ends at %v, want 1000 (%v)", offsets, err)
		}
	})
}

// More partitions have a batch under way than a broker takes from one stream at a time: it stops
// reading, and nothing comes to a stop for good.
func TestMorePartitionsThanAStreamTakes(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, topic := testContext(t), newName("wide")
		const partitions, each = 400, 5
		if _, err := client.Admin().CreateTopic(ctx, topic, partitions); err != nil {
			t.Fatal(err)
		}
		producer := newProducer(t, client, ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
		for i := range int32(partitions * each) {
			record := &ropewalk.Record{Topic: topic, Partition: i % partitions, Value: make([]byte, 10_000)}
			err := producer.SendAsync(ctx, record, func(r *ropewalk.Record, ack ropewalk.Ack, err error) {
				if err != nil || ack.Partition != r.Partition {
					t.Errorf("partition %d: %+v, %v", r.Partition, ack, err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := producer.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		offsets, err := client.Admin().ListOffsets(ctx, ropewalk.QueryLatest(topic, ropewalk.AllPartitions))
		if err != nil || len(offsets) != partitions {
			t.Fatalf("%d offsets, %v", len(offsets), err)
		}
		for _, o := range offsets {
			if o.Offset != each {
				t.Errorf("partition %d ends at %d, want %d", o.Partition, o.Offset, each)
			}
		}
	})
}
