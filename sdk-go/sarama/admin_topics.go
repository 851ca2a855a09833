package sarama

import (
	"context"
	"errors"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/kafkaconfig"
)

const (
	// byDefault stands for a number that the broker is to choose.
	byDefault = -1
	// maxPartitions is the most partitions that a topic has.
	maxPartitions = 10_000
)

func (a *clusterAdmin) CreateTopic(topic string, detail *TopicDetail, validateOnly bool) error {
	if topic == "" {
		return ErrInvalidTopic
	}
	if detail == nil {
		return errors.New("kafka: the details of the topic are missing")
	}
	partitions, factor, err := detail.numbers()
	if err != nil {
		return topicError(err)
	}
	settings, err := a.settings(detail.ConfigEntries, factor)
	if err != nil {
		return topicError(err)
	}
	if err := a.checkAssignment(slices.Collect(maps.Values(detail.ReplicaAssignment))); err != nil {
		return topicError(err)
	}
	if validateOnly {
		return a.isFree(topic)
	}
	if factor != 0 {
		settings = append(settings, ropewalk.ReplicationFactor(int32(factor)))
	}
	a.view.forget(topic)
	err = a.try(false, func(ctx context.Context) error {
		_, err := a.admin.CreateTopic(ctx, topic, partitions, settings...)
		return err
	})
	if err != nil {
		return topicError(err)
	}
	if len(detail.ReplicaAssignment) == 0 {
		return nil
	}
	if err := a.place(topic, detail.ReplicaAssignment); err != nil {
		// A topic that is not where it was to be is not what was asked for: it has no records yet.
		return topicError(errors.Join(err, a.DeleteTopic(topic)))
	}
	return nil
}

// numbers are what the core is asked for; 0 leaves it to the broker.
func (d *TopicDetail) numbers() (partitions int32, factor int16, err error) {
	if len(d.ReplicaAssignment) == 0 {
		switch {
		case d.NumPartitions < 1 && d.NumPartitions != byDefault:
			err = refuse(ErrInvalidPartitions, "the number of partitions must be larger than 0")
		case d.ReplicationFactor < 1 && d.ReplicationFactor != byDefault:
			err = refuse(ErrInvalidReplicationFactor, "the replication factor must be larger than 0")
		}
		return max(d.NumPartitions, 0), max(d.ReplicationFactor, 0), err
	}
	if d.NumPartitions != byDefault || d.ReplicationFactor != byDefault {
		return 0, 0, refuse(ErrInvalidRequest,
			"with a replica assignment, the numbers of partitions and replicas must be -1")
	}
	for id := range int32(len(d.ReplicaAssignment)) {
		brokers, ok := d.ReplicaAssignment[id]
		if !ok {
			return 0, 0, refuse(ErrInvalidReplicaAssignment,
				"partitions must be numbered from 0, and %d is missing", id)
		}
		factor = int16(len(brokers))
	}
	return int32(len(d.ReplicaAssignment)), factor, nil
}

// checkAssignment refuses brokers that there are not, before anything is changed for them.
func (a *clusterAdmin) checkAssignment(assignment [][]int32) error {
	if len(assignment) == 0 {
		return nil
	}
	known := map[int32]bool{}
	for _, broker := range a.client.Brokers() {
		known[broker.ID()] = true
	}
	for _, brokers := range assignment {
		if len(brokers) == 0 || len(brokers) != len(assignment[0]) {
			return refuse(ErrInvalidReplicaAssignment, "all partitions must have as many replicas")
		}
		for i, id := range brokers {
			if !known[id] || slices.Contains(brokers[:i], id) {
				return refuse(ErrInvalidReplicaAssignment, "broker %d is unknown, or named twice", id)
			}
		}
	}
	return nil
}

func (a *clusterAdmin) place(topic string, assignment map[int32][]int32) error {
	var wanted []ropewalk.Assignment
	for _, id := range slices.Sorted(maps.Keys(assignment)) {
		wanted = append(wanted, assigned(topic, id, assignment[id]))
	}
	return a.try(true, func(ctx context.Context) error {
		return a.admin.ReassignPartitions(ctx, wanted...)
	})
}

func assigned(topic string, partition int32, brokers []int32) ropewalk.Assignment {
	wanted := ropewalk.Assignment{
		TopicPartition: ropewalk.TopicPartition{Topic: topic, Partition: partition},
	}
	for _, id := range brokers {
		wanted.Brokers = append(wanted.Brokers, uint64(uint32(id)))
	}
	return wanted
}

// isFree refuses a name that a topic has.
func (a *clusterAdmin) isFree(topic string) error {
	_, err := a.getTopic(topic)
	switch {
	case errors.Is(err, ropewalk.ReasonTopicNotFound):
		return nil
	case err == nil:
		return topicError(refuse(ErrTopicAlreadyExists, "there is a topic %s", topic))
	}
	return topicError(err)
}

// described is a topic, or why it is not known.
type described struct {
	*ropewalk.Topic
	partitions []ropewalk.PartitionInfo
	err        error
}

func (a *clusterAdmin) getTopic(name string) (found described, err error) {
	err = a.try(true, func(ctx context.Context) error {
		found.Topic, found.partitions, err = a.admin.GetTopic(ctx, name)
		return err
	})
	return found, err
}

func (a *clusterAdmin) listTopics() (topics []*ropewalk.Topic, err error) {
	err = a.query(func(ctx context.Context) error {
		topics, err = a.admin.ListTopics(ctx, "")
		return err
	})
	return topics, err
}

func (a *clusterAdmin) ListTopics() (map[string]TopicDetail, error) {
	topics, err := a.listTopics()
	if err != nil {
		return nil, err
	}
	names := make([]string, len(topics))
	for i, topic := range topics {
		names[i] = topic.Name
	}
	details := make(map[string]TopicDetail, len(topics))
	for _, found := range a.getTopics(names) {
		switch {
		case found.err == nil:
			details[found.Name] = found.detail()
		case !errors.Is(found.err, ropewalk.ReasonTopicNotFound): // else it was deleted since
			return nil, mapAdminError(found.err)
		}
	}
	return details, nil
}

// atOnce is how many topics are asked for at one time.
const atOnce = 16

// getTopics asks for topics, in the order of their names.
func (a *clusterAdmin) getTopics(names []string) []described {
	all := make([]described, len(names))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, name := range names {
		group.Go(func() error {
			all[i], all[i].err = a.getTopic(name)
			return nil
		})
	}
	_ = group.Wait() // each has its own error
	return all
}

func (d described) detail() TopicDetail {
	detail := TopicDetail{
		NumPartitions: d.Partitions, ReplicationFactor: int16(d.ReplicationFactor),
		ReplicaAssignment: map[int32][]int32{}, ConfigEntries: map[string]*string{},
	}
	for _, p := range d.partitions {
		detail.ReplicaAssignment[p.Partition] = brokerIDs(p.Replicas)
	}
	for _, entry := range kafkaconfig.Describe(d.Topic) {
		if !entry.IsUsual() {
			detail.ConfigEntries[entry.Name] = &entry.Value
		}
	}
	return detail
}

func (a *clusterAdmin) DescribeTopics(topics []string) ([]*TopicMetadata, error) {
	if len(topics) == 0 {
		all, err := a.listTopics()
		if err != nil {
			return nil, err
		}
		for _, topic := range all {
			topics = append(topics, topic.Name)
		}
	}
	if err := a.query(func(ctx context.Context) error {
		_, err := a.view.cluster(ctx, fresh)
		return err
	}); err != nil {
		return nil, err
	}
	metadata := make([]*TopicMetadata, 0, len(topics))
	for i, found := range a.getTopics(topics) {
		if found.err == nil {
			metadata = append(metadata, a.metadata(found))
			continue
		}
		number, _, ok := numbered(found.err)
		if !ok {
			return nil, mapError(found.err)
		}
		metadata = append(metadata, &TopicMetadata{Name: topics[i], Err: number})
	}
	return metadata, nil
}

func (a *clusterAdmin) metadata(found described) *TopicMetadata {
	topic := &TopicMetadata{Name: found.Name, Uuid: uuidOf(found.ID)}
	for _, p := range found.partitions {
		partition := &PartitionMetadata{
			ID: p.Partition, Leader: int32(p.Leader), LeaderEpoch: int32(p.LeaderEpoch),
			Replicas: brokerIDs(p.Replicas), Isr: inSync(p), OfflineReplicas: a.view.offline(p),
		}
		if p.Leader == 0 {
			partition.Leader, partition.Err = -1, ErrLeaderNotAvailable
		}
		topic.Partitions = append(topic.Partitions, partition)
	}
	return topic
}

func (a *clusterAdmin) DeleteTopic(topic string) error {
	if topic == "" {
		return ErrInvalidTopic
	}
	a.view.forget(topic)
	return a.change(func(ctx context.Context) error { return a.admin.DeleteTopic(ctx, topic) })
}

func (a *clusterAdmin) DeleteRecords(topic string, partitionOffsets map[int32]int64) error {
	if topic == "" {
		return ErrInvalidTopic
	}
	var errs []error
	for _, partition := range slices.Sorted(maps.Keys(partitionOffsets)) {
		before := map[int32]int64{partition: partitionOffsets[partition]}
		// One at a time: one that is refused shall not keep the others.
		err := a.change(func(ctx context.Context) error {
			_, err := a.admin.DeleteRecords(ctx, topic, before)
			return err
		})
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return Wrap(ErrDeleteRecords, errs...)
	}
	return nil
}
