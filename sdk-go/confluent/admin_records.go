package kafka

import (
	"context"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// An OffsetSpec is a place in a partition that ListOffsets looks for.
type OffsetSpec int64

const (
	// MaxTimestampOffsetSpec would be the message with the latest time: ErrUnsupportedFeature.
	MaxTimestampOffsetSpec OffsetSpec = -3
	// EarliestOffsetSpec is the first message.
	EarliestOffsetSpec OffsetSpec = -2
	// LatestOffsetSpec is behind the last one.
	LatestOffsetSpec OffsetSpec = -1
)

// NewOffsetSpecForTimestamp is the first message of a time or later, in milliseconds since 1970.
func NewOffsetSpecForTimestamp(timestamp int64) OffsetSpec { return OffsetSpec(timestamp) }

// ListOffsetsResultInfo is what was found in a partition.
type ListOffsetsResultInfo struct {
	// Offset is OffsetEnd where no message is of the time or later.
	Offset Offset
	// Timestamp is the time of the message, where one was looked for by time; else -1.
	Timestamp int64
	// LeaderEpoch is that of the partition's leader.
	LeaderEpoch *int32
	// Error says why nothing is known; its code is ErrNoError otherwise.
	Error Error
}

// ListOffsetsResult is what was found, by the partitions as they were asked for.
type ListOffsetsResult struct {
	// ResultInfos has a TopicPartition for each that was asked for. As Topic is a pointer, look
	// it up with the same TopicPartition, or range over it.
	ResultInfos map[TopicPartition]ListOffsetsResultInfo
}

// ListOffsets looks for places in partitions.
func (a *AdminClient) ListOffsets(
	ctx context.Context, topicPartitionOffsets map[TopicPartition]OffsetSpec,
	options ...ListOffsetsAdminOption,
) (ListOffsetsResult, error) {
	result := ListOffsetsResult{ResultInfos: map[TopicPartition]ListOffsetsResultInfo{}}
	o, err := optionsOf(options)
	if err != nil {
		return result, err
	}
	var asked []TopicPartition
	for tp, spec := range topicPartitionOffsets {
		if err := checkPartitions([]TopicPartition{tp}); err != nil {
			return result, err
		}
		if spec == MaxTimestampOffsetSpec {
			result.ResultInfos[tp] = ListOffsetsResultInfo{
				Offset: OffsetInvalid, Timestamp: -1,
				Error: unsupported("the message with the latest time"),
			}
			continue
		}
		asked = append(asked, tp)
	}
	ctx, admin, end, err := a.begin(ctx, o)
	if err != nil {
		return result, err
	}
	defer end()
	err = eachOffset(ctx, admin, len(asked), func(i int) ropewalk.OffsetQuery {
		return queryFor(asked[i], topicPartitionOffsets[asked[i]])
	}, func(i int, found ropewalk.PartitionOffset, err error) {
		result.ResultInfos[asked[i]] = infoOf(topicPartitionOffsets[asked[i]], found, err)
	})
	if err != nil {
		return result, asError(err)
	}
	return result, nil
}

func queryFor(tp TopicPartition, spec OffsetSpec) ropewalk.OffsetQuery {
	switch spec {
	case EarliestOffsetSpec:
		return ropewalk.QueryEarliest(tp.topic(), tp.Partition)
	case LatestOffsetSpec:
		return ropewalk.QueryLatest(tp.topic(), tp.Partition)
	}
	return ropewalk.QueryTime(tp.topic(), tp.Partition, time.UnixMilli(int64(spec)))
}

func infoOf(spec OffsetSpec, found ropewalk.PartitionOffset, err error) ListOffsetsResultInfo {
	if err != nil {
		return ListOffsetsResultInfo{Offset: OffsetInvalid, Timestamp: -1, Error: asError(err)}
	}
	epoch := int32(found.LeaderEpoch)
	info := ListOffsetsResultInfo{Offset: Offset(found.Offset), Timestamp: -1, LeaderEpoch: &epoch}
	if !found.Timestamp.IsZero() {
		info.Timestamp = found.Timestamp.UnixMilli()
	} else if spec >= 0 {
		info.Offset = OffsetEnd
	}
	return info
}

// DeletedRecords says where a partition begins now.
type DeletedRecords struct {
	// LowWatermark is the offset of its first message.
	LowWatermark Offset
}

// A DeleteRecordsResult is what became of a partition.
type DeleteRecordsResult struct {
	// TopicPartition is the partition as it was named, with its Error.
	TopicPartition TopicPartition
	// DeletedRecords is nil after an error.
	DeletedRecords *DeletedRecords
}

// DeleteRecordsResults is what became of partitions.
type DeleteRecordsResults struct {
	// DeleteRecordsResults are in the order in which the partitions were named.
	DeleteRecordsResults []DeleteRecordsResult
}

// DeleteRecords deletes, for good, the messages of partitions below Offset; OffsetEnd: all of them.
func (a *AdminClient) DeleteRecords(
	ctx context.Context, recordsToDelete []TopicPartition, options ...DeleteRecordsAdminOption,
) (DeleteRecordsResults, error) {
	var results DeleteRecordsResults
	o, err := optionsOf(options)
	if err != nil {
		return results, err
	}
	if err := checkPartitions(recordsToDelete); err != nil {
		return results, err
	}
	ctx, admin, end, err := a.begin(ctx, o)
	if err != nil {
		return results, err
	}
	defer end()
	for _, tp := range recordsToDelete {
		result := DeleteRecordsResult{TopicPartition: tp}
		starts, err := deleteBefore(ctx, admin, tp)
		if err != nil {
			result.TopicPartition.Error = asError(err)
		} else {
			result.DeletedRecords = &DeletedRecords{Offset(starts[tp.Partition])}
		}
		results.DeleteRecordsResults = append(results.DeleteRecordsResults, result)
	}
	return results, nil
}

func deleteBefore(
	ctx context.Context, admin *ropewalk.Admin, tp TopicPartition,
) (map[int32]int64, error) {
	before := int64(tp.Offset)
	switch {
	case tp.Offset == OffsetEnd:
		before = ropewalk.HighWatermark
	case tp.Offset < 0:
		return nil, errorf(ErrInvalidArg, "offset %v is neither a number nor the end", tp.Offset)
	}
	return admin.DeleteRecords(ctx, tp.topic(), map[int32]int64{tp.Partition: before})
}
