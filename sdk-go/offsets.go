package ropewalk

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A CommittedOffset is the position of a consumer group in a partition.
type CommittedOffset struct {
	TopicPartition
	// Offset is the next one to read.
	Offset int64
	// Metadata is anything the consumer wants to keep beside it, at most 3 KiB.
	Metadata string
	// CommitTime is when it was committed, by the broker's clock. Commits do not look at it.
	CommitTime time.Time

	era era
}

// An OffsetQuery is a position to resolve. Make it with [QueryEarliest], [QueryLatest] or
// [QueryTime].
type OffsetQuery struct{ wire *pb.OffsetQuery }

// AllPartitions stands, in an OffsetQuery, for every partition of the topic.
const AllPartitions int32 = -1

func newQuery(topic string, partition int32) OffsetQuery {
	q := &pb.OffsetQuery{Topic: topic}
	if partition != AllPartitions {
		q.Partition = &partition
	}
	return OffsetQuery{q}
}

// QueryEarliest asks for the offset of the first record that a partition still has.
func QueryEarliest(topic string, partition int32) OffsetQuery {
	q := newQuery(topic, partition)
	q.wire.Position = &pb.OffsetQuery_Earliest{Earliest: &emptypb.Empty{}}
	return q
}

// QueryLatest asks for the offset after the last record: at least that of every append that was
// answered before.
func QueryLatest(topic string, partition int32) OffsetQuery {
	q := newQuery(topic, partition)
	q.wire.Position = &pb.OffsetQuery_Latest{Latest: &emptypb.Empty{}}
	return q
}

// QueryTime asks for the first record whose time is t or later; the latest offset when there is
// none.
func QueryTime(topic string, partition int32, t time.Time) OffsetQuery {
	q := newQuery(topic, partition)
	q.wire.Position = &pb.OffsetQuery_Timestamp{Timestamp: timestamppb.New(t)}
	return q
}

// A PartitionOffset is a resolved position.
type PartitionOffset struct {
	TopicPartition
	Offset int64
	// Timestamp is, for a query by time, the time of the record at Offset; zero when there is none.
	Timestamp time.Time
	// LeaderEpoch is the epoch of the partition's leader.
	LeaderEpoch int64
}

func (c *Client) listOffsets(
	ctx context.Context, queries []OffsetQuery,
) ([]PartitionOffset, error) {
	request := &pb.ListOffsetsRequest{}
	for _, q := range queries {
		if q.wire == nil {
			return nil, invalidError("list offsets", "a query is empty")
		}
		request.Queries = append(request.Queries, q.wire)
	}
	answer, err := call(ctx, c, "list offsets", true, func(ctx context.Context) (*pb.ListOffsetsResponse, error) {
		return c.consumers.ListOffsets(ctx, request)
	})
	if err != nil {
		return nil, err
	}
	offsets := make([]PartitionOffset, 0, len(answer.GetOffsets()))
	for _, o := range answer.GetOffsets() {
		offset := PartitionOffset{
			TopicPartition: TopicPartition{o.GetTopic(), o.GetPartition()},
			Offset:         o.GetOffset(),
			LeaderEpoch:    o.GetLeaderEpoch(),
		}
		if o.Timestamp != nil {
			offset.Timestamp = o.Timestamp.AsTime()
		}
		offsets = append(offsets, offset)
	}
	return offsets, nil
}

func (c *Client) commitOffset(ctx context.Context, group string, offsets []CommittedOffset) error {
	if len(offsets) == 0 {
		return nil
	}
	request, bytes := &pb.CommitOffsetRequest{Group: group}, 0
	commit := func() error {
		began := time.Now()
		var by peer.Peer
		// A commit says where the group is, so that repeating it does no harm: it is retried like a
		// read.
		_, err := call(ctx, c, opCommit, true, func(ctx context.Context) (*pb.CommitOffsetResponse, error) {
			return c.consumers.CommitOffset(ctx, request, grpc.Peer(&by))
		})
		c.hooks.commitDone(ctx, request, began, &by, err)
		return err
	}
	for _, o := range offsets {
		offset := &pb.CommittedOffset{
			Topic: o.Topic, Partition: o.Partition, Offset: o.Offset, Metadata: o.Metadata,
		}
		// Its own length, and the tag and the length before it.
		more := proto.Size(offset) + 8
		if n := len(request.Offsets); n == mostCommitsAtOnce || n > 0 && bytes+more > mostCommitBytes {
			if err := commit(); err != nil {
				return err
			}
			request, bytes = &pb.CommitOffsetRequest{Group: group}, 0
		}
		request.Offsets, bytes = append(request.Offsets, offset), bytes+more
	}
	return commit()
}

func (c *Client) committedOffsets(
	ctx context.Context, group string, topics []string,
) ([]CommittedOffset, error) {
	request := &pb.GetCommittedOffsetsRequest{Group: group}
	for _, topic := range topics {
		request.Topics = append(request.Topics, &pb.TopicPartitions{Topic: topic})
	}
	answer, err := call(ctx, c, "get committed offsets", true,
		func(ctx context.Context) (*pb.GetCommittedOffsetsResponse, error) {
			return c.consumers.GetCommittedOffsets(ctx, request)
		})
	if err != nil {
		return nil, err
	}
	offsets := make([]CommittedOffset, 0, len(answer.GetOffsets()))
	for _, o := range answer.GetOffsets() {
		offsets = append(offsets, CommittedOffset{
			TopicPartition: TopicPartition{o.GetTopic(), o.GetPartition()},
			Offset:         o.GetOffset(),
			Metadata:       o.GetMetadata(),
			CommitTime:     o.GetCommitTime().AsTime(),
		})
	}
	return offsets, nil
}
