package kafka_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// batchOf is one record of a partition.
func batchOf(topic string, partition int32, offset int64) *pb.RecordBatch {
	records := &pb.RecordSet{Records: []*pb.Record{{Value: []byte("x")}}}
	return &pb.RecordBatch{Topic: topic, Partition: partition, BaseOffset: offset, RecordCount: 1,
		Compression: pb.Compression_COMPRESSION_NONE,
		Data:        &pb.RecordBatch_Records{Records: records}}
}

func given(generation int64, positions ...*pb.PartitionPosition) *pb.Assignment {
	return &pb.Assignment{Generation: generation, Assigned: positions}
}

func position(topic string, partition int32, offset int64) *pb.PartitionPosition {
	return &pb.PartitionPosition{Topic: topic, Partition: partition, Offset: offset}
}

// eventsOf has another goroutine poll, which sends what it gets.
func eventsOf(t testing.TB, c *kafka.Consumer) <-chan kafka.Event {
	t.Helper()
	events := make(chan kafka.Event, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !c.IsClosed() {
			if e := c.Poll(50); e != nil {
				events <- e
			}
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return events
}

// nextMessage waits for a message, and passes what else comes.
func nextMessage(t testing.TB, events <-chan kafka.Event) *kafka.Message {
	t.Helper()
	for {
		if m, ok := nextEvent(t, events).(*kafka.Message); ok {
			return m
		}
	}
}

// An eager consumer looks up where its partitions go on. One that cannot be looked up waits, and is
// looked up again; the others are read meanwhile.
func TestOnePartitionIsLookedUpLater(t *testing.T) {
	server := newServer(t)
	produce(t, server.Address(), "there", "v")
	c := newConsumer(t, server.Address(), "g", "auto.commit.interval.ms", 0)
	if err := c.SubscribeTopics([]string{"there", "late"},
		func(*kafka.Consumer, kafka.Event) error { return nil }); err != nil {
		t.Fatal(err)
	}
	events := eventsOf(t, c)
	stream := accept(t, server)
	stream.Send(given(2, position("there", 0, 0), position("late", 0, 0)))
	until(t, "two partitions", has(t, c, 2))
	stream.Send(given(3, position("there", 1, 0))) // and so all go and come
	stream = accept(t, server)                     // one of them is paused
	for _, p := range stream.Request.GetMember().GetPositions() {
		if p.GetPaused() != (p.GetTopic() == "late") {
			t.Errorf("%v is read, or not", p)
		}
	}
	stream.Send(given(4, position("there", 0, 0), position("there", 1, 0), position("late", 0, 0)))
	stream.Send(batchOf("there", 0, 0))
	if m := nextMessage(t, events); *m.TopicPartition.Topic != "there" {
		t.Errorf("read %v", m)
	}
	createTopic(t, server.Address(), "late", 1)
	stream = accept(t, server)
	stream.Send(given(5, position("there", 0, 1), position("there", 1, 0), position("late", 0, 0)))
	stream.Send(batchOf("late", 0, 0))
	if m := nextMessage(t, events); *m.TopicPartition.Topic != "late" {
		t.Errorf("read %v", m)
	}
}

// A member that ends again and again joins ever more slowly. What was read before is committed
// where that is taken still.
func TestMemberEndsAgain(t *testing.T) {
	server := newServer(t)
	produce(t, server.Address(), "t", "v")
	c := newConsumer(t, server.Address(), "g", "reconnect.backoff.ms", 200,
		"reconnect.backoff.max.ms", 200, "auto.commit.interval.ms", 0)
	if err := c.Subscribe("t", nil); err != nil {
		t.Fatal(err)
	}
	events := eventsOf(t, c)
	began := time.Now()
	for i := range 3 {
		stream := accept(t, server)
		stream.Send(given(2, position("t", 0, 0)))
		stream.Send(batchOf("t", 0, 0))
		nextMessage(t, events)
		stream.End(status.Error(codes.DataLoss, "damaged"))
		for {
			if e, ok := nextEvent(t, events).(kafka.Error); ok {
				if e.IsFatal() || !strings.Contains(e.Error(), "joined anew") {
					t.Errorf("%d: it was told %v", i, e)
				}
				break
			}
		}
	}
	accept(t, server)
	// Three pauses, each up to a fifth shorter.
	if took := time.Since(began); took < 3*160*time.Millisecond {
		t.Errorf("it has joined again within %v", took)
	}
	commits := server.MemberCommits()
	if len(commits) == 0 || commits[0].GetOffsets()[0].GetOffset() != 1 {
		t.Errorf("committed are %v", commits)
	}
}

// A message of a partition that went and came back cannot be committed, nor stored.
func TestMessageOfFormerAssignment(t *testing.T) {
	server := newServer(t)
	produce(t, server.Address(), "t", "v")
	c := newConsumer(t, server.Address(), "g", "enable.auto.offset.store", false)
	if err := c.Subscribe("t", nil); err != nil {
		t.Fatal(err)
	}
	events := eventsOf(t, c)
	stream := accept(t, server)
	stream.Send(given(2, position("t", 0, 0)))
	stream.Send(batchOf("t", 0, 0))
	former := nextMessage(t, events)
	if _, err := c.StoreMessage(former); err != nil {
		t.Fatal(err)
	}
	stream.Send(&pb.Assignment{Generation: 3,
		Ended: []*pb.TopicPartitions{{Topic: "t", Partitions: []int32{0}}}})
	until(t, "the loss", has(t, c, 0))
	stream.Send(given(4, position("t", 0, 0)))
	until(t, "the partition", has(t, c, 1))
	_, err := c.CommitMessage(former)
	hasCode(t, err, kafka.ErrIllegalGeneration)
	_, err = c.StoreMessage(former)
	hasCode(t, err, kafka.ErrState)
	stream.Send(batchOf("t", 0, 0))
	if _, err := c.CommitMessage(nextMessage(t, events)); err != nil {
		t.Error(err)
	}
}

// Close says that its last commit was refused.
func TestCloseTellsThatNothingWasCommitted(t *testing.T) {
	server := newServer(t)
	produce(t, server.Address(), "t", "v")
	c := newConsumer(t, server.Address(), "g", "auto.commit.interval.ms", 0)
	if err := c.Subscribe("t", nil); err != nil {
		t.Fatal(err)
	}
	stream := accept(t, server)
	stream.Send(given(2, position("t", 0, 0)))
	stream.Send(batchOf("t", 0, 0))
	read(t, c)
	server.Fence(0)
	hasCode(t, c.Close(), kafka.ErrIllegalGeneration)
	if !c.IsClosed() {
		t.Error("it is not closed")
	}
}

// A program that hears of rebalances late, over a channel, assigns what is there still, and need
// not know what has gone.
func TestRebalancesOverTheChannel(t *testing.T) {
	server := newServer(t)
	produce(t, server.Address(), "t", "v")
	c := newConsumer(t, server.Address(), "g", "go.events.channel.enable", true,
		"go.application.rebalance.enable", true,
		"partition.assignment.strategy", "cooperative-sticky")
	if err := c.Subscribe("t", nil); err != nil {
		t.Fatal(err)
	}
	stream := accept(t, server)
	stream.Send(given(2, position("t", 0, 0), position("t", 1, 0)))
	stream = accept(t, server)                 // as neither is read before it is assigned
	stream.Send(given(3, position("t", 0, 0))) // the other was lost
	until(t, "both events", func() bool { return len(c.Events()) == 2 })
	assigned := nextEvent(t, c.Events()).(kafka.AssignedPartitions).Partitions
	hasCode(t, c.Assign(assigned), kafka.ErrState) // it is cooperative
	if err := c.IncrementalAssign(assigned); err != nil {
		t.Error(err)
	}
	gone := nextEvent(t, c.Events()).(kafka.RevokedPartitions).Partitions
	if !c.AssignmentLost() {
		t.Error("the partition was not lost")
	}
	if err := c.IncrementalUnassign(gone); err != nil {
		t.Error(err)
	}
	stream = accept(t, server)
	stream.Send(given(4, position("t", 0, 0)))
	stream.Send(batchOf("t", 0, 0))
	nextMessage(t, c.Events())
}

// What comes of a paused partition is held back, so that the others need no other stream; of one
// that is paused for long nothing comes any more, and it is read again from where the program is.
func TestPausedPartitionIsHeldBack(t *testing.T) {
	server := newServer(t)
	produce(t, server.Address(), "t", "v")
	c := newConsumer(t, server.Address(), "g")
	if err := c.Subscribe("t", nil); err != nil {
		t.Fatal(err)
	}
	events := eventsOf(t, c)
	stream := accept(t, server)
	stream.Send(given(2, position("t", 0, 0), position("t", 1, 0)))
	until(t, "two partitions", has(t, c, 2))
	topic := "t"
	zero := []kafka.TopicPartition{{Topic: &topic}}
	next := func(partition int32, offset kafka.Offset) {
		t.Helper()
		m := nextMessage(t, events)
		if m.TopicPartition.Partition != partition || m.TopicPartition.Offset != offset {
			t.Fatalf("read %v, want %d of partition %d", m, offset, partition)
		}
	}
	if err := c.Pause(zero); err != nil {
		t.Fatal(err)
	}
	stream.Send(batchOf("t", 0, 0))
	stream.Send(batchOf("t", 0, 1))
	stream.Send(batchOf("t", 1, 0))
	next(1, 0)
	if err := c.Resume(zero); err != nil {
		t.Fatal(err)
	}
	next(0, 0)
	next(0, 1)
	stream.Send(batchOf("t", 0, 2)) // the stream is the same
	next(0, 2)
	if err := c.Pause(zero); err != nil {
		t.Fatal(err)
	}
	many := batchOf("t", 0, 3)
	for many.RecordCount = 1; many.RecordCount < 1100; many.RecordCount++ {
		records := many.GetRecords()
		records.Records = append(records.Records, records.Records[0])
	}
	stream.Send(many)
	stream = accept(t, server)
	third := given(3)
	for _, p := range stream.Request.GetMember().GetPositions() {
		if p.GetPaused() != (p.GetPartition() == 0) {
			t.Errorf("%v is read, or not", p)
		}
		third.Assigned = append(third.Assigned, position("t", p.GetPartition(), p.GetOffset()))
	}
	stream.Send(third)
	if err := c.Resume(zero); err != nil {
		t.Fatal(err)
	}
	stream = accept(t, server)
	stream.Send(given(4, position("t", 0, 3), position("t", 1, 1)))
	stream.Send(batchOf("t", 0, 3))
	next(0, 3)
}
