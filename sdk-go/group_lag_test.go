package ropewalk_test

import (
	"context"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// What a member knows of how far it is behind comes with its assignment, batches and heartbeats.
func TestGroupPositionsKnowTheLag(t *testing.T) {
	_, member, stream := scripted(t, ropewalk.GroupManualCommit())
	is := func(offset, end, start int64) {
		t.Helper()
		held := member.Positions()
		if len(held) != 1 {
			t.Fatalf("it has %v", held)
		}
		p := held[0]
		if p.Offset != offset || p.HighWatermark != end || p.LogStart != start || p.Lag() != end-offset {
			t.Errorf("at %d of %d to %d, %d behind", p.Offset, p.LogStart, p.HighWatermark, p.Lag())
		}
	}
	at := &pb.PartitionPosition{Topic: "t", Offset: 3, HighWatermark: 10, LogStartOffset: 2}
	stream.Send(&pb.Assignment{Generation: 5, Assigned: []*pb.PartitionPosition{at}})
	stream.Send(batch(0, 3, 1))
	next(t, member, 0, 3)
	is(4, 10, 2)
	stream.Send(batch(0, 4, 8)) // ends beyond what was heard
	next(t, member, 0, 4)
	is(5, 12, 2)
	stream.Send(&pb.Heartbeat{Positions: []*pb.PartitionPosition{
		{Topic: "t", HighWatermark: 40, LogStartOffset: 4}, {Topic: "another", HighWatermark: 70},
	}})
	stream.Send(batch(0, 12, 1))
	for offset := int64(5); offset < 13; offset++ {
		next(t, member, 0, offset)
	}
	is(13, 40, 4)
}

// A member that a real broker serves learns of what is appended, also of what it is not sent yet.
func TestGroupLagGrows(t *testing.T) {
	client := dial(t, ropewalktest.Start(t).Address)
	ctx := testContext(t)
	if _, err := client.Admin().CreateTopic(ctx, "t", 1); err != nil {
		t.Fatal(err)
	}
	fillPartitions(t, client, 1, 2)
	member := join(t, client, ropewalk.GroupHeartbeat(100*time.Millisecond),
		ropewalk.GroupInFlight(1, 0), ropewalk.GroupManualCommit())
	for offset := range int64(2) {
		next(t, member, 0, offset)
		if err := member.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if lag := member.Positions()[0].Lag(); lag != 0 {
		t.Fatalf("it has read all, and is %d behind", lag)
	}
	fillPartitions(t, client, 1, 5)
	next(t, member, 0, 2) // and is sent no more of them until it commits
	for member.Positions()[0].HighWatermark < 7 {
		wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		_, _ = member.Next(wait)
		cancel()
		if ctx.Err() != nil {
			t.Fatalf("it knows of %+v", member.Positions())
		}
	}
}
