package kafka_test

import (
	"strings"
	"testing"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// A program that commits itself is told which partition is refused; the others are committed, and
// what can never be is not tried again.
func TestCommitOfOneIsRefused(t *testing.T) {
	eachBroker(t, func(t *testing.T, address string) {
		topic, gone := newName("kept"), newName("gone")
		produce(t, address, topic, "a", "b")
		produce(t, address, gone, "c")
		c := newConsumer(t, address, "g", "enable.auto.commit", false)
		if err := c.Assign([]kafka.TopicPartition{{Topic: &gone}, {Topic: &topic}}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			read(t, c)
		}
		if _, err := newAdmin(t, address).DeleteTopics(testContext(t), []string{gone}); err != nil {
			t.Fatal(err)
		}
		refusedOne := func(list []kafka.TopicPartition, err error, offset kafka.Offset) {
			t.Helper()
			if hasCode(t, err, kafka.ErrUnknownTopicOrPart); len(list) != 2 {
				t.Fatalf("committed are %v", list)
			}
			for _, at := range list {
				if (at.Error != nil) != (*at.Topic == gone) {
					t.Errorf("%v has the error %v", at, at.Error)
				}
			}
			committed, err := c.Committed([]kafka.TopicPartition{{Topic: &topic}}, 5000)
			if err != nil || committed[0].Offset != offset {
				t.Errorf("committed is %v, %v", committed, err)
			}
		}
		list, err := c.Commit()
		refusedOne(list, err, 2)
		_, err = c.Commit()
		hasCode(t, err, kafka.ErrNoOffset)
		list, err = c.CommitOffsets([]kafka.TopicPartition{
			{Topic: &gone, Offset: 1}, {Topic: &topic, Offset: 1}})
		refusedOne(list, err, 1)
	})
}

// Metadata that a broker does not take keep no other partition from being committed.
func TestMetadataTooLong(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("notes")
	createTopic(t, address, topic, 2)
	one := message(topic, "b")
	one.TopicPartition.Partition = 1
	produceAll(t, address, message(topic, "a"), one)
	c := newConsumer(t, address, "g", "enable.auto.offset.store", false,
		"auto.commit.interval.ms", 20)
	at := []kafka.TopicPartition{{Topic: &topic}, {Topic: &topic, Partition: 1}}
	if err := c.Assign(at); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 3<<10+1)
	at[0].Offset, at[0].Metadata, at[1].Offset = 1, &long, 1
	if _, err := c.StoreOffsets(at); err != nil {
		t.Fatal(err)
	}
	pollUntil(t, c, func(e kafka.OffsetsCommitted) bool {
		hasCode(t, e.Error, kafka.ErrOffsetMetadataTooLarge)
		return true
	})
	committed, err := c.Committed(at, 5000)
	if err != nil || committed[0].Offset != kafka.OffsetInvalid || committed[1].Offset != 1 {
		t.Errorf("committed are %v, %v", committed, err)
	}
	list, err := c.CommitOffsets(at)
	if hasCode(t, err, kafka.ErrOffsetMetadataTooLarge); list[1].Error != nil {
		t.Errorf("of the other it says %v", list[1].Error)
	}
}

// What a program stores counts for this time that it has the partition, and for no other.
func TestStoredOffsetIsOfNow(t *testing.T) {
	server := newServer(t)
	produce(t, server.Address(), "t", "v")
	c := newConsumer(t, server.Address(), "g", "enable.auto.offset.store", false,
		"enable.auto.commit", false)
	if err := c.Subscribe("t", nil); err != nil {
		t.Fatal(err)
	}
	accept(t, server).Send(given(2, position("t", 0, 0)))
	until(t, "the assignment", func() bool { c.Poll(10); return has(t, c, 1)() })
	topic, note := "t", "note"
	at := kafka.TopicPartition{Topic: &topic, Offset: 1, Metadata: &note}
	if _, err := c.StoreOffsets([]kafka.TopicPartition{at}); err != nil {
		t.Fatal(err)
	}
	if !c.StoredOfNow(at) {
		t.Error("it would count for another time too")
	}
	if _, err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	want := &pb.CommittedOffset{Topic: "t", Offset: 1, Metadata: note}
	got := server.MemberCommits()
	if len(got) != 1 || got[0].GetOffsets()[0].String() != want.String() {
		t.Errorf("committed are %v", got)
	}
}
