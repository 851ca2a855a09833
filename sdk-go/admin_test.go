package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

func TestTopics(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, admin, prefix := testContext(t), client.Admin(), newName("topics")
		made, err := admin.CreateTopic(ctx, prefix+"-a", 3, ropewalk.Retention(time.Hour), ropewalk.MaxRecordBytes(2000))
		if err != nil {
			t.Fatal(err)
		}
		if made.Partitions != 3 || made.ID == "" || made.Settings.Retention != time.Hour ||
			made.Settings.MaxRecordBytes != 2000 || made.Settings.SegmentBytes != 1<<30 {
			t.Errorf("created %+v", made)
		}
		if _, err := admin.CreateTopic(ctx, prefix+"-a", 1); !errors.Is(err, ropewalk.ReasonTopicExists) {
			t.Errorf("created twice: %v", err)
		}
		if _, err := admin.CreateTopic(ctx, "..", 1); !errors.Is(err, ropewalk.ReasonInvalidTopicName) {
			t.Errorf("bad name: %v", err)
		}
		changed, err := admin.UpdateTopic(ctx, prefix+"-a", ropewalk.Default(ropewalk.Retention(0)),
			ropewalk.RetentionBytes(1<<30), ropewalk.SegmentAge(time.Minute), ropewalk.SegmentBytes(1<<20),
			ropewalk.Timestamps(ropewalk.TimestampAppend))
		if err != nil {
			t.Fatal(err)
		}
		s := changed.Settings
		if s.Retention != 7*24*time.Hour || s.RetentionBytes != 1<<30 || s.SegmentAge != time.Minute ||
			s.SegmentBytes != 1<<20 || s.TimestampType != ropewalk.TimestampAppend || s.MaxRecordBytes != 2000 {
			t.Errorf("updated to %+v", s)
		}
		if grown, err := admin.AddPartitions(ctx, prefix+"-a", 5); err != nil || grown.Partitions != 5 {
			t.Errorf("grown to %+v, %v", grown, err)
		}
		if _, err := admin.AddPartitions(ctx, prefix+"-a", 4); !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("shrunk: %v", err)
		}
		produce(t, client, prefix+"-a", "x", "y")
		topic, partitions, err := admin.GetTopic(ctx, prefix+"-a")
		if err != nil || topic.Partitions != 5 || len(partitions) != 5 || topic.CreateTime.IsZero() {
			t.Fatalf("got %+v, %v, %v", topic, partitions, err)
		}
		if p := partitions[0]; p.HighWatermark != 2 || p.Leader == 0 || len(p.Replicas) != 1 {
			t.Errorf("partition 0 is %+v", p)
		}
		if err := admin.DeleteTopic(ctx, prefix+"-a"); err != nil {
			t.Error(err)
		}
		if _, _, err := admin.GetTopic(ctx, prefix+"-a"); !errors.Is(err, ropewalk.ReasonTopicNotFound) {
			t.Errorf("after it was deleted: %v", err)
		}
	})
}

// More topics than one page holds.
func TestTopicsArePaged(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, admin, prefix := testContext(t), client.Admin(), newName("paged")
		const count = 120
		for i := range count {
			if _, err := admin.CreateTopic(ctx, fmt.Sprintf("%s-%03d", prefix, i), 1); err != nil {
				t.Fatal(err)
			}
		}
		topics, err := admin.ListTopics(ctx, prefix+"-")
		if err != nil || len(topics) != count {
			t.Fatalf("%d topics, want %d (%v)", len(topics), count, err)
		}
		for i, topic := range topics {
			if want := fmt.Sprintf("%s-%03d", prefix, i); topic.Name != want {
				t.Fatalf("topic %d is %s, want %s", i, topic.Name, want)
			}
		}
		for range admin.Topics(ctx, prefix) {
			break // a loop may be left
		}
	})
}

func TestDeleteRecordsAndOffsets(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, admin, topic := testContext(t), client.Admin(), newName("delete")
		if _, err := admin.CreateTopic(ctx, topic, 2); err != nil {
			t.Fatal(err)
		}
		base := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
		producer := newProducer(t, client, ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
		for i := range 4 {
			_, err := producer.Send(ctx, &ropewalk.Record{Topic: topic, Timestamp: base.Add(time.Duration(i) * time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
		}
		starts, err := admin.DeleteRecords(ctx, topic, map[int32]int64{0: 1, 1: ropewalk.HighWatermark})
		if err != nil || starts[0] != 1 || starts[1] != 0 || len(starts) != 2 {
			t.Errorf("starts %v, %v", starts, err)
		}
		if _, err := admin.DeleteRecords(ctx, topic, map[int32]int64{0: 5}); !errors.Is(err, ropewalk.ReasonOffsetOutOfRange) {
			t.Errorf("beyond the end: %v", err)
		}
		offsets, err := admin.ListOffsets(ctx,
			ropewalk.QueryEarliest(topic, 0), ropewalk.QueryLatest(topic, ropewalk.AllPartitions),
			ropewalk.QueryTime(topic, 0, base.Add(90*time.Minute)), ropewalk.QueryTime(topic, 0, base.Add(9*time.Hour)))
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, o := range offsets {
			got = append(got, int64(o.Partition), o.Offset)
		}
		if want := []int64{0, 1, 0, 4, 1, 0, 0, 2, 0, 4}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("partitions and offsets %v, want %v", got, want)
		}
		if !offsets[3].Timestamp.Equal(base.Add(2*time.Hour)) || !offsets[4].Timestamp.IsZero() {
			t.Errorf("times %v and %v", offsets[3].Timestamp, offsets[4].Timestamp)
		}
	})
}

// More than a call may name is committed in several, also where it is what is kept beside them.
func TestManyCommittedOffsets(t *testing.T) {
	server := newServer(t)
	ctx, client := testContext(t), dial(t, server.Address())
	produce(t, client, "t", "0")
	for name, c := range map[string]struct{ count, metadata int }{
		"number": {10_001, 0}, "bytes": {2_000, 3_000},
	} {
		offsets := slices.Repeat([]ropewalk.CommittedOffset{{
			TopicPartition: ropewalk.TopicPartition{Topic: "t"}, Metadata: strings.Repeat("m", c.metadata),
		}}, c.count)
		offsets[len(offsets)-1].Offset = 1
		if err := client.Admin().CommitOffset(ctx, name, offsets...); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := client.Admin().GetCommittedOffsets(ctx, name)
		if err != nil || len(got) != 1 || got[0].Offset != 1 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Nobody is asked.
func TestNoCommittedOffsets(t *testing.T) {
	client := dial(t, newServer(t).Address())
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if err := client.Admin().CommitOffset(ctx, "group"); err != nil {
		t.Error(err)
	}
}

func TestCommittedOffsets(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, admin, topic, group := testContext(t), client.Admin(), newName("committed"), newName("group")
		produce(t, client, topic, "0", "1")
		at := ropewalk.CommittedOffset{
			TopicPartition: ropewalk.TopicPartition{Topic: topic}, Offset: 2, Metadata: "note",
		}
		if err := admin.CommitOffset(ctx, group, at); err != nil {
			t.Fatal(err)
		}
		got, err := admin.GetCommittedOffsets(ctx, group, topic)
		if err != nil || len(got) != 1 || got[0].Offset != 2 || got[0].Metadata != "note" || got[0].CommitTime.IsZero() {
			t.Errorf("got %+v, %v", got, err)
		}
		at.Offset = 3
		if err := admin.CommitOffset(ctx, group, at); !errors.Is(err, ropewalk.ReasonOffsetOutOfRange) {
			t.Errorf("beyond the end: %v", err)
		}
		at.Topic = "no-such-topic"
		if err := admin.CommitOffset(ctx, group, at); !errors.Is(err, ropewalk.ReasonTopicNotFound) {
			t.Errorf("unknown topic: %v", err)
		}
		if none, err := admin.GetCommittedOffsets(ctx, "x"+group); err != nil || len(none) != 0 {
			t.Errorf("unknown group: %v, %v", none, err)
		}
	})
}
