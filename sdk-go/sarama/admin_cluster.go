package sarama

import (
	"context"
	"maps"
	"slices"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

func (a *clusterAdmin) DescribeCluster() (brokers []*Broker, controllerID int32, err error) {
	var cluster *ropewalk.Cluster
	err = a.query(func(ctx context.Context) error {
		cluster, err = a.admin.GetBrokers(ctx)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for _, b := range cluster.Brokers {
		if !b.Removed {
			brokers = append(brokers, &Broker{
				id: int32(b.ID), addr: b.Address, rack: b.Rack, view: a.view,
			})
		}
	}
	if controllerID = int32(cluster.Controller); controllerID == 0 {
		controllerID = -1
	}
	return brokers, controllerID, nil
}

func (a *clusterAdmin) ListOffsets(
	partitions map[string]map[int32]int64, _ *ListOffsetsOptions,
) (map[string]map[int32]*OffsetResult, error) {
	if len(partitions) == 0 {
		return nil, ConfigurationError("no partitions provided")
	}
	results := map[string]map[int32]*OffsetResult{}
	var queries []ropewalk.OffsetQuery
	for _, topic := range slices.Sorted(maps.Keys(partitions)) {
		results[topic] = map[int32]*OffsetResult{}
		found, err := a.getTopic(topic)
		if _, _, ok := numbered(err); err != nil && !ok {
			return nil, mapError(err)
		}
		for partition, at := range partitions[topic] {
			query, err := a.offsetQuery(found, err, topic, partition, at)
			if err != nil {
				results[topic][partition] = &OffsetResult{Offset: -1, Timestamp: -1, Err: err}
				continue
			}
			queries = append(queries, query)
		}
	}
	if len(queries) == 0 {
		return results, nil
	}
	err := a.query(func(ctx context.Context) error {
		offsets, err := a.admin.ListOffsets(ctx, queries...)
		for _, o := range offsets {
			results[o.Topic][o.Partition] = offsetResult(o, partitions[o.Topic][o.Partition])
		}
		return err
	})
	return results, err
}

// offsetQuery refuses a partition that is not there, as one of them would fail all of a request.
func (a *clusterAdmin) offsetQuery(
	found described, err error, topic string, partition int32, at int64,
) (ropewalk.OffsetQuery, error) {
	if err != nil {
		return ropewalk.OffsetQuery{}, mapAdminError(err)
	}
	if partition < 0 || partition >= found.Partitions {
		return ropewalk.OffsetQuery{}, ErrUnknownTopicOrPartition
	}
	return offsetQuery(topic, partition, at)
}

func offsetResult(found ropewalk.PartitionOffset, at int64) *OffsetResult {
	result := &OffsetResult{
		Offset: kafkaOffset(found, at), Timestamp: -1, LeaderEpoch: int32(found.LeaderEpoch),
		Err: ErrNoError,
	}
	if at >= 0 && !found.Timestamp.IsZero() {
		result.Timestamp = found.Timestamp.UnixMilli()
	}
	return result
}
