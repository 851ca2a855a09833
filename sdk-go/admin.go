package ropewalk

import (
	"context"
	"iter"
	"sort"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// An Admin manages topics, positions and the cluster. It needs no Close of its own.
type Admin struct{ client *Client }

// Admin returns the client's administrator.
func (c *Client) Admin() *Admin { return &Admin{c} }

// CreateTopic creates a topic; partitions 0 leaves their number to the broker. A name that is taken
// is refused with [ReasonTopicExists].
func (a *Admin) CreateTopic(
	ctx context.Context, name string, partitions int32, settings ...TopicSetting,
) (*Topic, error) {
	wanted := &pb.Topic{Settings: &pb.TopicSettings{}}
	for _, set := range settings {
		set.apply(wanted)
	}
	request := &pb.CreateTopicRequest{
		Name: name, PartitionCount: partitions,
		Settings: wanted.Settings, ReplicationFactor: wanted.ReplicationFactor,
	}
	answer, err := call(ctx, a.client, "create topic", false,
		func(ctx context.Context) (*pb.CreateTopicResponse, error) {
			return a.client.admins.CreateTopic(ctx, request)
		})
	if err != nil {
		return nil, err
	}
	a.client.topics.forget(name)
	return topicFrom(answer.GetTopic()), nil
}

// GetTopic describes a topic, and the state of each of its partitions.
func (a *Admin) GetTopic(ctx context.Context, name string) (*Topic, []PartitionInfo, error) {
	answer, err := a.client.topics.describe(ctx, "get topic", name)
	if err != nil {
		return nil, nil, err
	}
	partitions := make([]PartitionInfo, 0, len(answer.GetPartitions()))
	for _, p := range answer.GetPartitions() {
		partitions = append(partitions, partitionFrom(p))
	}
	return topicFrom(answer.GetTopic()), partitions, nil
}

// Topics ranges over the topics whose name begins with prefix, by name. Pages are fetched as the
// loop gets to them; an error ends it.
func (a *Admin) Topics(ctx context.Context, prefix string) iter.Seq2[*Topic, error] {
	return func(yield func(*Topic, error) bool) {
		request := &pb.ListTopicsRequest{NamePrefix: prefix}
		for {
			page, err := call(ctx, a.client, "list topics", true,
				func(ctx context.Context) (*pb.ListTopicsResponse, error) {
					return a.client.admins.ListTopics(ctx, request)
				})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, topic := range page.GetTopics() {
				if !yield(topicFrom(topic), nil) {
					return
				}
			}
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				return
			}
		}
	}
}

// ListTopics returns the topics whose name begins with prefix, by name.
func (a *Admin) ListTopics(ctx context.Context, prefix string) ([]*Topic, error) {
	var topics []*Topic
	for topic, err := range a.Topics(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		topics = append(topics, topic)
	}
	return topics, nil
}

// UpdateTopic changes settings of a topic; those that are not named stay as they are.
func (a *Admin) UpdateTopic(
	ctx context.Context, name string, settings ...TopicSetting,
) (*Topic, error) {
	topic := &pb.Topic{Name: name, Settings: &pb.TopicSettings{}}
	mask := &fieldmaskpb.FieldMask{}
	for _, set := range settings {
		set.apply(topic)
		mask.Paths = append(mask.Paths, set.path)
	}
	return a.updateTopic(ctx, topic, mask)
}

// AddPartitions gives a topic more partitions, up to a total. Keys may move to other partitions:
// what was appended stays where it is.
func (a *Admin) AddPartitions(ctx context.Context, name string, total int32) (*Topic, error) {
	return a.updateTopic(ctx, &pb.Topic{Name: name, PartitionCount: total},
		&fieldmaskpb.FieldMask{Paths: []string{"partition_count"}})
}

func (a *Admin) updateTopic(
	ctx context.Context, topic *pb.Topic, mask *fieldmaskpb.FieldMask,
) (*Topic, error) {
	request := &pb.UpdateTopicRequest{Topic: topic, UpdateMask: mask}
	answer, err := call(ctx, a.client, "update topic", false,
		func(ctx context.Context) (*pb.UpdateTopicResponse, error) {
			return a.client.admins.UpdateTopic(ctx, request)
		})
	if err != nil {
		return nil, err
	}
	a.client.topics.forget(topic.GetName())
	return topicFrom(answer.GetTopic()), nil
}

// DeleteTopic deletes a topic, its records and the offsets committed for it.
func (a *Admin) DeleteTopic(ctx context.Context, name string) error {
	_, err := call(ctx, a.client, "delete topic", false,
		func(ctx context.Context) (*pb.DeleteTopicResponse, error) {
			return a.client.admins.DeleteTopic(ctx, &pb.DeleteTopicRequest{Name: name})
		})
	if err == nil {
		a.client.topics.forget(name)
	}
	return err
}

// HighWatermark stands, in DeleteRecords, for the end of a partition.
const HighWatermark int64 = -1

// DeleteRecords deletes, for good, the records of partitions below an offset. It returns the offset
// at which each partition starts now.
func (a *Admin) DeleteRecords(
	ctx context.Context, topic string, before map[int32]int64,
) (map[int32]int64, error) {
	request := &pb.DeleteRecordsRequest{Topic: topic}
	for partition, offset := range before {
		request.Targets = append(request.Targets,
			&pb.DeleteRecordsTarget{Partition: partition, BeforeOffset: offset})
	}
	sort.Slice(request.Targets, func(i, j int) bool {
		return request.Targets[i].Partition < request.Targets[j].Partition
	})
	// Not repeated when the outcome is open: with HighWatermark, a second try could delete more.
	answer, err := call(ctx, a.client, "delete records", false,
		func(ctx context.Context) (*pb.DeleteRecordsResponse, error) {
			return a.client.admins.DeleteRecords(ctx, request)
		})
	if err != nil {
		return nil, err
	}
	starts := make(map[int32]int64, len(before))
	for _, p := range answer.GetPartitions() {
		starts[p.GetPartition()] = p.GetLogStartOffset()
	}
	return starts, nil
}

// ListOffsets resolves positions, in the order of the queries; a query for all partitions gives one
// for each.
func (a *Admin) ListOffsets(
	ctx context.Context, queries ...OffsetQuery,
) ([]PartitionOffset, error) {
	return a.client.listOffsets(ctx, queries)
}

// CommitOffset keeps positions under the name of a consumer group, durably. Up to 10,000 of them, with up
// to 3 MiB of names and metadata, are kept all together or not at all. More are committed in several calls,
// one after the other, each of which is: after an error the first of them are kept perhaps. Without any
// there is nothing to do.
func (a *Admin) CommitOffset(ctx context.Context, group string, offsets ...CommittedOffset) error {
	return a.client.commitOffset(ctx, group, offsets)
}

// GetCommittedOffsets returns the positions that are kept for a consumer group, in all topics when
// none is named. Partitions without one are left out.
func (a *Admin) GetCommittedOffsets(
	ctx context.Context, group string, topics ...string,
) ([]CommittedOffset, error) {
	return a.client.committedOffsets(ctx, group, topics)
}
