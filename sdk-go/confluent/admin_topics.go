package kafka

import (
	"context"
	"fmt"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/kafkaconfig"
)

// A TopicResult is what became of a topic.
type TopicResult struct {
	// Topic is its name.
	Topic string
	// Error says why nothing did; its code is ErrNoError otherwise.
	Error Error
}

// String is the name, with the error behind it.
func (t TopicResult) String() string {
	if t.Error.code == ErrNoError {
		return t.Topic
	}
	return fmt.Sprintf("%s (%s)", t.Topic, t.Error)
}

// A TopicSpecification says what a topic is to be.
type TopicSpecification struct {
	// Topic is its name.
	Topic string
	// NumPartitions is how many it has; 0 or -1: as many as brokers are set to.
	NumPartitions int
	// ReplicationFactor is 1, 3 or 5; 0 or -1: as many as brokers are set to.
	ReplicationFactor int
	// ReplicaAssignment is refused: brokers place replicas. Leave it out, and move them later with
	// the core's Admin.ReassignPartitions.
	ReplicaAssignment [][]int32
	// Config are settings, by Kafka's names; see [AdminClient.DescribeConfigs].
	Config map[string]string
}

// A PartitionsSpecification says how many partitions a topic is to have.
type PartitionsSpecification struct {
	// Topic is its name.
	Topic string
	// IncreaseTo is how many it is to have in all, more than it has.
	IncreaseTo int
	// ReplicaAssignment is refused: brokers place replicas.
	ReplicaAssignment [][]int32
}

// CreateTopics creates topics. One that exists has ErrTopicAlreadyExists.
func (a *AdminClient) CreateTopics(
	ctx context.Context, topics []TopicSpecification, options ...CreateTopicsAdminOption,
) ([]TopicResult, error) {
	ctx, admin, end, err := beginWith(ctx, a, options)
	if err != nil {
		return nil, err
	}
	defer end()
	results := make([]TopicResult, len(topics))
	for i, topic := range topics {
		results[i] = TopicResult{topic.Topic, asError(createTopic(ctx, admin, topic))}
	}
	return results, nil
}

func createTopic(ctx context.Context, admin *ropewalk.Admin, t TopicSpecification) error {
	if len(t.ReplicaAssignment) > 0 {
		return errorf(ErrInvalidReplicaAssignment, "ReplicaAssignment: brokers place replicas")
	}
	partitions := t.NumPartitions
	if partitions == -1 {
		partitions = 0
	}
	if partitions < 0 || partitions > maxInt32 || t.NumPartitions < -1 {
		return errorf(ErrInvalidPartitions, "%d partitions", t.NumPartitions)
	}
	var settings []ropewalk.TopicSetting
	if t.ReplicationFactor > 0 {
		settings = append(settings, ropewalk.ReplicationFactor(int32(t.ReplicationFactor)))
	} else if t.ReplicationFactor < -1 {
		return errorf(ErrInvalidReplicationFactor, "replication factor %d", t.ReplicationFactor)
	}
	chosen, err := settingsOf(ctx, admin, t)
	if err != nil {
		return err
	}
	_, err = admin.CreateTopic(ctx, t.Topic, int32(partitions), append(settings, chosen...)...)
	return err
}

// settingsOf are the settings of a topic that is to be.
func settingsOf(
	ctx context.Context, admin *ropewalk.Admin, t TopicSpecification,
) ([]ropewalk.TopicSetting, error) {
	values := map[string]*string{}
	for name, value := range t.Config {
		values[name] = &value
	}
	replicas := t.ReplicationFactor
	if values[kafkaconfig.MinInsyncReplicas] != nil {
		var err error
		if replicas, err = kafkaconfig.Replicas(ctx, admin, replicas); err != nil {
			return nil, err
		}
	}
	settings, err := kafkaconfig.All(values, replicas)
	if err != nil {
		return nil, invalidConfig(err)
	}
	return settings, nil
}

// DeleteTopics deletes topics, their messages, and what groups have committed of them.
func (a *AdminClient) DeleteTopics(
	ctx context.Context, topics []string, options ...DeleteTopicsAdminOption,
) ([]TopicResult, error) {
	ctx, admin, end, err := beginWith(ctx, a, options)
	if err != nil {
		return nil, err
	}
	defer end()
	results := make([]TopicResult, len(topics))
	for i, topic := range topics {
		results[i] = TopicResult{topic, asError(admin.DeleteTopic(ctx, topic))}
	}
	return results, nil
}

// CreatePartitions gives topics more partitions. Keys may move to other partitions by that.
func (a *AdminClient) CreatePartitions(
	ctx context.Context, partitions []PartitionsSpecification,
	options ...CreatePartitionsAdminOption,
) ([]TopicResult, error) {
	ctx, admin, end, err := beginWith(ctx, a, options)
	if err != nil {
		return nil, err
	}
	defer end()
	results := make([]TopicResult, len(partitions))
	for i, p := range partitions {
		results[i] = TopicResult{p.Topic, asError(addPartitions(ctx, admin, p))}
	}
	return results, nil
}

func addPartitions(
	ctx context.Context, admin *ropewalk.Admin, p PartitionsSpecification,
) error {
	if len(p.ReplicaAssignment) > 0 {
		return errorf(ErrInvalidReplicaAssignment, "ReplicaAssignment: brokers place replicas")
	}
	topic, _, err := admin.GetTopic(ctx, p.Topic)
	if err != nil {
		return err
	}
	if p.IncreaseTo <= int(topic.Partitions) || p.IncreaseTo > maxInt32 {
		return errorf(ErrInvalidPartitions, "Topic %s has %d partitions: %d are no increase",
			p.Topic, topic.Partitions, p.IncreaseTo)
	}
	_, err = admin.AddPartitions(ctx, p.Topic, int32(p.IncreaseTo))
	return err
}

// A TopicCollection names topics.
type TopicCollection struct{ topicNames []string }

// NewTopicCollectionOfTopicNames names topics.
func NewTopicCollectionOfTopicNames(names []string) TopicCollection {
	return TopicCollection{names}
}

// TopicPartitionInfo describes a partition.
type TopicPartitionInfo struct {
	// Partition counts from 0.
	Partition int
	// Leader is the broker that leads it; nil while none does.
	Leader *Node
	// Replicas are the brokers that are to have it, Isr those of them that are up to date.
	Replicas []Node
	Isr      []Node
}

// A TopicDescription describes a topic.
type TopicDescription struct {
	// Name is the topic's name, TopicID its id.
	Name    string
	TopicID UUID
	// Error says why nothing is known of it; its code is ErrNoError otherwise.
	Error Error
	// IsInternal is whether the topic is the broker's own.
	IsInternal bool
	// Partitions are by number.
	Partitions []TopicPartitionInfo
	// AuthorizedOperations is nil always: there is no authorization.
	AuthorizedOperations []ACLOperation
}

// DescribeTopicsResult describes topics.
type DescribeTopicsResult struct {
	// TopicDescriptions are in the order in which the topics were named.
	TopicDescriptions []TopicDescription
}

// DescribeTopics describes topics. One that does not exist is not created.
func (a *AdminClient) DescribeTopics(
	ctx context.Context, topics TopicCollection, options ...DescribeTopicsAdminOption,
) (DescribeTopicsResult, error) {
	var result DescribeTopicsResult
	ctx, admin, end, err := beginWith(ctx, a, options)
	if err != nil {
		return result, err
	}
	defer end()
	cluster, err := admin.GetCluster(ctx)
	if err != nil {
		return result, asError(err)
	}
	nodes := map[uint64]Node{}
	for _, b := range cluster.Brokers {
		nodes[b.ID] = nodeOf(b)
	}
	for _, name := range topics.topicNames {
		result.TopicDescriptions = append(result.TopicDescriptions,
			describedTopic(ctx, admin, name, nodes))
	}
	return result, nil
}

func describedTopic(
	ctx context.Context, admin *ropewalk.Admin, name string, nodes map[uint64]Node,
) TopicDescription {
	d := TopicDescription{Name: name}
	topic, partitions, err := admin.GetTopic(ctx, name)
	if err != nil {
		d.Error = asError(err)
		return d
	}
	d.TopicID = uuidOf(topic.ID)
	d.IsInternal = len(name) > 1 && name[:2] == "__"
	for _, p := range partitions {
		info := TopicPartitionInfo{Partition: int(p.Partition)}
		if node, ok := nodes[p.Leader]; ok {
			info.Leader = &node
		}
		for _, id := range p.Replicas {
			info.Replicas = append(info.Replicas, nodeFor(nodes, id))
		}
		for _, r := range p.Members {
			if r.InSync {
				info.Isr = append(info.Isr, nodeFor(nodes, r.Broker))
			}
		}
		d.Partitions = append(d.Partitions, info)
	}
	return d
}

// nodeFor is a broker, by its number alone when it is not known any more.
func nodeFor(nodes map[uint64]Node, id uint64) Node {
	if node, ok := nodes[id]; ok {
		return node
	}
	return Node{ID: int(id)}
}
