package sarama

import (
	"slices"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

func (c *client) Topics() ([]string, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	return c.view.names(ctx, fresh)
}

func (c *client) Partitions(topic string) ([]int32, error) {
	return c.partitions(topic, func(ropewalk.PartitionInfo) bool { return true })
}

func (c *client) WritablePartitions(topic string) ([]int32, error) {
	return c.partitions(topic, func(p ropewalk.PartitionInfo) bool { return p.Leader != 0 })
}

func (c *client) partitions(topic string, is func(ropewalk.PartitionInfo) bool) ([]int32, error) {
	found, err := c.topic(topic)
	if err != nil {
		return nil, err
	}
	ids := make([]int32, 0, len(found))
	for _, p := range found {
		if is(p) {
			ids = append(ids, p.Partition)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func (c *client) topic(name string) ([]ropewalk.PartitionInfo, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	if name == "" {
		return nil, ErrInvalidTopic
	}
	ctx, cancel := c.context()
	defer cancel()
	return c.view.topic(ctx, name, fresh)
}

func (c *client) partition(topic string, id int32) (ropewalk.PartitionInfo, error) {
	found, err := c.topic(topic)
	if err != nil {
		return ropewalk.PartitionInfo{}, err
	}
	for _, p := range found {
		if p.Partition == id {
			return p, nil
		}
	}
	return ropewalk.PartitionInfo{}, ErrUnknownTopicOrPartition
}

func (c *client) Leader(topic string, partitionID int32) (*Broker, error) {
	leader, _, err := c.LeaderAndEpoch(topic, partitionID)
	return leader, err
}

func (c *client) LeaderAndEpoch(topic string, partitionID int32) (*Broker, int32, error) {
	p, err := c.partition(topic, partitionID)
	if err != nil {
		return nil, -1, err
	}
	if p.Leader == 0 {
		return nil, -1, ErrLeaderNotAvailable
	}
	ctx, cancel := c.context()
	defer cancel()
	if _, err := c.view.cluster(ctx, fresh); err != nil {
		return nil, -1, err
	}
	broker := c.view.broker(int32(p.Leader))
	if broker == nil {
		return nil, -1, ErrLeaderNotAvailable
	}
	return broker.use(c.conf), int32(p.LeaderEpoch), nil
}

func (c *client) PartitionNotReadable(topic string, partition int32) bool {
	p, err := c.partition(topic, partition)
	return err != nil || p.Leader == 0
}

func (c *client) Replicas(topic string, partitionID int32) ([]int32, error) {
	p, err := c.partition(topic, partitionID)
	return brokerIDs(p.Replicas), err
}

func (c *client) InSyncReplicas(topic string, partitionID int32) ([]int32, error) {
	p, err := c.partition(topic, partitionID)
	if err != nil {
		return nil, err
	}
	return inSync(p), nil
}

func (c *client) OfflineReplicas(topic string, partitionID int32) ([]int32, error) {
	p, err := c.partition(topic, partitionID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	if _, err := c.view.cluster(ctx, fresh); err != nil {
		return nil, err
	}
	return c.view.offline(p), nil
}

func (c *client) RefreshMetadata(topics ...string) error {
	if err := c.open(); err != nil {
		return err
	}
	if slices.Contains(topics, "") {
		return ErrInvalidTopic
	}
	ctx, cancel := c.context()
	defer cancel()
	if _, err := c.view.cluster(ctx, 0); err != nil {
		return err
	}
	if len(topics) == 0 {
		if err := c.view.refreshAll(ctx); err != nil {
			return err
		}
	}
	for _, topic := range topics {
		if _, err := c.view.topic(ctx, topic, 0); err != nil {
			return err
		}
	}
	// What producers that share the client go by is the core's.
	return mapError(c.core.RefreshTopics(ctx, 0, topics...))
}

func (c *client) GetOffset(topic string, partitionID int32, at int64) (int64, error) {
	if _, err := c.partition(topic, partitionID); err != nil {
		return -1, err
	}
	query, err := offsetQuery(topic, partitionID, at)
	if err != nil {
		return -1, err
	}
	ctx, cancel := c.context()
	defer cancel()
	found, err := c.core.Admin().ListOffsets(ctx, query)
	switch {
	case err != nil:
		return -1, mapError(err)
	case len(found) != 1:
		return -1, ErrIncompleteResponse
	}
	return kafkaOffset(found[0], at), nil
}

// offsetQuery asks for what sarama means by a time: one of the two offsets that have a number, or
// milliseconds.
func offsetQuery(topic string, partition int32, at int64) (ropewalk.OffsetQuery, error) {
	switch {
	case at == OffsetNewest:
		return ropewalk.QueryLatest(topic, partition), nil
	case at == OffsetOldest:
		return ropewalk.QueryEarliest(topic, partition), nil
	case at < 0:
		return ropewalk.OffsetQuery{}, ErrUnsupportedVersion
	}
	return ropewalk.QueryTime(topic, partition, time.UnixMilli(at)), nil
}

// kafkaOffset is -1 when no record is as new as a time; the core then tells the end of the
// partition.
func kafkaOffset(found ropewalk.PartitionOffset, at int64) int64 {
	if at >= 0 && found.Timestamp.IsZero() {
		return -1
	}
	return found.Offset
}

func brokerIDs(ids []uint64) []int32 {
	if ids == nil {
		return nil
	}
	short := make([]int32, len(ids))
	for i, id := range ids {
		short[i] = int32(id)
	}
	return short
}

func inSync(p ropewalk.PartitionInfo) []int32 {
	ids := []int32{}
	for _, replica := range p.Members {
		if replica.InSync {
			ids = append(ids, int32(replica.Broker))
		}
	}
	return ids
}
