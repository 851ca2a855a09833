package kafka_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// batchOfMany are so many records of a partition.
func batchOfMany(topic string, partition int32, offset int64, count int) *pb.RecordBatch {
	batch := batchOf(topic, partition, offset)
	records := batch.GetRecords()
	for len(records.Records) < count {
		records.Records = append(records.Records, records.Records[0])
	}
	batch.RecordCount = int32(count)
	return batch
}

// holding is a consumer that has partitions 0 and 1 of topic t, and holds back so many messages of
// each, which are read again.
func holding(
	t *testing.T, counts []int, callback kafka.RebalanceCb,
) (*testserver.Server, *testserver.Member, *kafka.Consumer) {
	t.Helper()
	server := newServer(t)
	produce(t, server.Address(), "t", "v")
	c := newConsumer(t, server.Address(), "g", "partition.assignment.strategy", "cooperative-sticky",
		"enable.auto.commit", false)
	if err := c.Subscribe("t", callback); err != nil {
		t.Fatal(err)
	}
	stream := accept(t, server)
	stream.Send(given(2, position("t", 0, 0), position("t", 1, 0)))
	until(t, "two partitions", func() bool { c.Poll(10); return has(t, c, 2)() })
	both, err := c.Assignment()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Pause(both); err != nil {
		t.Fatal(err)
	}
	all := 0
	for partition, count := range counts {
		stream.Send(batchOfMany("t", int32(partition), 0, count))
		all += count
	}
	until(t, "all to be held back", func() bool { c.Poll(10); return c.Held() == all })
	if err := c.Resume(both); err != nil {
		t.Fatal(err)
	}
	return server, stream, c
}

// work is what a program does with a message.
func work() { time.Sleep(5 * time.Millisecond) }

// A program that has much to do with what was held back is told of a rebalance all the same, and
// what it has to give back is given back.
func TestRebalanceWhileHeldIsHandedOut(t *testing.T) {
	const count = 900
	var told seen
	server, stream, c := holding(t, []int{count, count}, func(_ *kafka.Consumer, e kafka.Event) error {
		told.note(e)
		return nil
	})
	stream.Send(&pb.Assignment{Generation: 3, Revoked: []*pb.Revocation{{
		Partitions: &pb.TopicPartitions{Topic: "t", Partitions: []int32{0}}}}})
	poll := func() {
		defer work()
		m, ok := c.Poll(1000).(*kafka.Message)
		if ok && told.String() != "+0,1" && m.TopicPartition.Partition == 0 {
			t.Errorf("%v comes after the partition went", m)
		}
	}
	for told.String() == "+0,1" && c.Held() > 0 {
		poll()
	}
	if held := c.Held(); held < count/2 || told.String() != "+0,1 -0" {
		t.Fatalf("it was told %s with %d held", &told, held)
	}
	for len(server.MemberCommits()) == 0 && c.Held() > 0 {
		poll()
	}
	if c.Held() == 0 {
		t.Error("the partition is not given back")
	}
}

// Nor does a broken stream wait for that.
func TestStreamBreaksWhileHeldIsHandedOut(t *testing.T) {
	const count = 900
	server, stream, c := holding(t, []int{count}, nil)
	stream.End(status.Error(codes.Unavailable, "the broker restarts"))
	joined := make(chan *testserver.Member)
	go func() { joined <- server.Join(testContext(t)) }()
	read := 0
	for stream = nil; stream == nil && read < count; work() {
		if _, ok := c.Poll(1000).(*kafka.Message); ok {
			read++
		}
		select {
		case stream = <-joined:
		default:
		}
		if read > count/2 && stream == nil {
			time.Sleep(100 * time.Millisecond) // a slow machine has not rejoined yet: it looks each time
		}
	}
	if stream == nil || c.Held() == 0 {
		t.Fatalf("it has joined again after %d messages: %v", read, stream != nil)
	}
	stream.Send(&pb.Started{MemberId: "m", Generation: 2})
	stream.Send(given(3, position("t", 0, count), position("t", 1, 0)))
	for ; read < count; read++ {
		if e, ok := c.Poll(1000).(*kafka.Message); !ok || e.TopicPartition.Offset != kafka.Offset(read) {
			t.Fatalf("read %v, want %d", e, read)
		}
	}
}

// What comes meanwhile of a partition comes behind what was held back of it, and what comes of
// another need not wait for that.
func TestOrderWhileHeldIsHandedOut(t *testing.T) {
	const count, more = 100, 50
	_, stream, c := holding(t, []int{count}, nil)
	stream.Send(batchOfMany("t", 0, count, more))
	stream.Send(batchOfMany("t", 1, 0, 1))
	next, held := map[int32]kafka.Offset{}, 0
	for range count + more + 1 {
		m := read(t, c)
		at := m.TopicPartition
		if at.Offset != next[at.Partition] {
			t.Fatalf("read %v, want %d", at, next[at.Partition])
		}
		next[at.Partition]++
		held = max(held, c.Held())
		work()
	}
	if held >= count+more {
		t.Errorf("%d were held", held)
	}
}
