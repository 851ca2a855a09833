package kafka

import (
	"context"
	"math"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// BrokerMetadata is a broker.
type BrokerMetadata struct {
	// ID is the broker's number.
	ID int32
	// Host and Port are where clients reach it.
	Host string
	Port int
}

// PartitionMetadata is a partition.
type PartitionMetadata struct {
	// ID counts from 0.
	ID int32
	// Error has ErrLeaderNotAvailable while nobody leads the partition, else ErrNoError.
	Error Error
	// Leader is the broker that leads it; -1 while none does.
	Leader int32
	// Replicas are the brokers that are to have it, Isrs those of them that are up to date.
	Replicas []int32
	Isrs     []int32
}

// TopicMetadata is a topic.
type TopicMetadata struct {
	// Topic is its name.
	Topic string
	// Partitions are by number.
	Partitions []PartitionMetadata
	// Error says why nothing is known of it; its code is ErrNoError otherwise.
	Error Error
}

// Metadata describes a cluster.
type Metadata struct {
	// Brokers are those of the cluster.
	Brokers []BrokerMetadata
	// Topics are those that were asked for, by name.
	Topics map[string]TopicMetadata
	// OriginatingBroker would be the broker that has answered, which is not told: its ID is -1.
	OriginatingBroker BrokerMetadata
}

// getMetadata describes the cluster; used names the topics when neither one nor all are asked for.
func (h *handle) getMetadata(
	topic *string, allTopics bool, timeoutMs int, used func() []string,
) (*Metadata, error) {
	ctx, cancel := h.within(timeoutMs)
	defer cancel()
	admin, err := h.admin(ctx)
	if err != nil {
		return nil, err
	}
	cluster, err := admin.GetCluster(ctx)
	if err != nil {
		return nil, asError(err)
	}
	m := &Metadata{
		Topics: map[string]TopicMetadata{}, OriginatingBroker: BrokerMetadata{ID: -1},
	}
	for _, b := range cluster.Brokers {
		host, port := hostPort(b.Address)
		m.Brokers = append(m.Brokers, BrokerMetadata{brokerID(b.ID), host, port})
	}
	names, err := topicsFor(ctx, admin, topic, allTopics, used)
	if err != nil {
		return nil, asError(err)
	}
	described := make([]TopicMetadata, len(names))
	inParallel(len(names), func(i int) {
		described[i] = describeTopic(ctx, admin, names[i])
	})
	for i, name := range names {
		m.Topics[name] = described[i]
	}
	if topic != nil && passing(described[0].Error) {
		return nil, described[0].Error // nothing is known of it
	}
	return m, nil
}

func topicsFor(ctx context.Context, admin *ropewalk.Admin, topic *string, all bool,
	used func() []string,
) ([]string, error) {
	switch {
	case topic != nil:
		return []string{*topic}, nil
	case !all:
		return used(), nil
	}
	topics, err := admin.ListTopics(ctx, "")
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	return names, err
}

// describeTopic describes a topic; what goes wrong with it is nothing to the others.
func describeTopic(ctx context.Context, admin *ropewalk.Admin, name string) TopicMetadata {
	described := TopicMetadata{Topic: name}
	_, partitions, err := admin.GetTopic(ctx, name)
	if err != nil {
		described.Error = asError(err)
		return described
	}
	for _, p := range partitions {
		described.Partitions = append(described.Partitions, partitionMetadata(p))
	}
	return described
}

func partitionMetadata(p ropewalk.PartitionInfo) PartitionMetadata {
	m := PartitionMetadata{ID: p.Partition, Leader: brokerID(p.Leader)}
	if p.Leader == 0 {
		m.Leader, m.Error = -1, Error{code: ErrLeaderNotAvailable, retriable: true}
	}
	for _, id := range p.Replicas {
		m.Replicas = append(m.Replicas, brokerID(id))
	}
	for _, r := range p.Members {
		if r.InSync {
			m.Isrs = append(m.Isrs, brokerID(r.Broker))
		}
	}
	return m
}

// brokerID is a broker's number, which programs have 32 bits for.
func brokerID(id uint64) int32 { return int32(min(id, math.MaxInt32)) }
