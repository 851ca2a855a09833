package ropewalk

import (
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A Start says where reading starts. The zero Start is [StartEarliest].
type Start struct{ wire *pb.Start }

// StartEarliest starts at the first record that the partition still has.
func StartEarliest() Start {
	return Start{&pb.Start{Position: &pb.Start_Earliest{Earliest: &emptypb.Empty{}}}}
}

// StartLatest starts after the last record: only what is appended from now on is read.
func StartLatest() Start {
	return Start{&pb.Start{Position: &pb.Start_Latest{Latest: &emptypb.Empty{}}}}
}

// StartOffset starts at an offset. One that the partition no longer has leads to a [Gap]; one
// beyond its end is refused with [ReasonOffsetOutOfRange].
func StartOffset(offset int64) Start {
	return Start{&pb.Start{Position: &pb.Start_Offset{Offset: offset}}}
}

// StartTime starts at the first record whose time is t or later.
func StartTime(t time.Time) Start {
	return Start{&pb.Start{Position: &pb.Start_Timestamp{Timestamp: timestamppb.New(t)}}}
}

// StartCommitted starts where a consumer group committed, and at the earliest record of partitions
// for which it has not.
func StartCommitted(group string) Start {
	return startCommitted(&pb.CommittedStart{Group: group})
}

// StartCommittedOrLatest is as StartCommitted, but with the latest offset where nothing is
// committed.
func StartCommittedOrLatest(group string) Start {
	return startCommitted(&pb.CommittedStart{
		Group: group, Fallback: &pb.CommittedStart_Latest{Latest: &emptypb.Empty{}},
	})
}

func startCommitted(c *pb.CommittedStart) Start {
	return Start{&pb.Start{Position: &pb.Start_Committed{Committed: c}}}
}

// A Stop says where reading ends. The zero Stop is never.
type Stop struct{ wire *pb.Stop }

// StopCaughtUp ends at the high watermark that each partition has when reading starts.
func StopCaughtUp() Stop {
	return Stop{&pb.Stop{End: &pb.Stop_CaughtUp{CaughtUp: &emptypb.Empty{}}}}
}

// StopOffset ends before an offset, the same in every partition.
func StopOffset(offset int64) Stop {
	return Stop{&pb.Stop{End: &pb.Stop_Offset{Offset: offset}}}
}

// StopTime ends before the first record whose time is t or later.
func StopTime(t time.Time) Stop {
	return Stop{&pb.Stop{End: &pb.Stop_Timestamp{Timestamp: timestamppb.New(t)}}}
}

// A Position is where a consumer is in a partition.
type Position struct {
	TopicPartition
	// Offset is the next one that the consumer hands out.
	Offset int64
	// HighWatermark is the offset after the last record that can be read, as last heard.
	HighWatermark int64
	// LogStart is the offset of the first record that the partition still has, as last heard.
	LogStart int64
	// TopicID tells the topic from others that had its name before, or have it later.
	TopicID string

	era era
}

// ToCommit is the position, to be committed by a [GroupConsumer].
func (p Position) ToCommit() CommittedOffset {
	return CommittedOffset{TopicPartition: p.TopicPartition, Offset: p.Offset, era: p.era}
}

// Lag is the number of records between the position and the high watermark.
func (p Position) Lag() int64 { return max(p.HighWatermark-p.Offset, 0) }

// A Gap tells of records that were to be read and are gone: offsets From up to but not including
// To. It is an error, so that a reader cannot miss it; reading goes on at To.
type Gap struct {
	TopicPartition
	From, To int64
}

// Error describes the gap.
func (g *Gap) Error() string {
	return fmt.Sprintf("offsets %d to %d of %s/%d were deleted before they were read",
		g.From, g.To-1, g.Topic, g.Partition)
}

// partitionState is what a consumer keeps for a partition.
type partitionState struct {
	tp      TopicPartition
	topicID string
	// next is the next offset that the stream is to bring; the receiving goroutine owns it.
	next int64
	// end is where reading stops, if hasEnd.
	end    int64
	hasEnd bool

	delivered     atomic.Int64
	highWatermark atomic.Int64
	logStart      atomic.Int64
}

func (s *partitionState) finished() bool { return s.hasEnd && s.next >= s.end }

func (s *partitionState) heard(p *pb.PartitionPosition) {
	s.highWatermark.Store(max(p.GetHighWatermark(), s.highWatermark.Load()))
	s.logStart.Store(p.GetLogStartOffset())
}

func (s *partitionState) position() Position {
	return Position{
		TopicPartition: s.tp,
		TopicID:        s.topicID,
		Offset:         s.delivered.Load(),
		HighWatermark:  s.highWatermark.Load(),
		LogStart:       s.logStart.Load(),
	}
}
