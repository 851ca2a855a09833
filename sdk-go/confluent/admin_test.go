package kafka_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

func newAdmin(t testing.TB, address string) *kafka.AdminClient {
	t.Helper()
	a, err := kafka.NewAdminClient(with(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func TestTopics(t *testing.T) {
	a, ctx := newAdmin(t, ropewalktest.Start(t).Address), testContext(t)
	results, err := a.CreateTopics(ctx, []kafka.TopicSpecification{
		{Topic: "t", NumPartitions: 2, ReplicationFactor: 1, Config: map[string]string{
			"retention.ms": "3600000", "cleanup.policy": "compact"}},
		{Topic: "bad name", NumPartitions: 1},
		{Topic: "placed", NumPartitions: 1, ReplicaAssignment: [][]int32{{1}}},
		{Topic: "odd", NumPartitions: 1, Config: map[string]string{"min.insync.replicas": "2"}},
		{Topic: "safe", NumPartitions: 1, Config: map[string]string{"min.insync.replicas": "1"}},
		{Topic: "huge", NumPartitions: 10_001},
		{Topic: "wide", NumPartitions: 1, ReplicationFactor: 3},
	}, kafka.SetAdminOperationTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	var codes []kafka.ErrorCode
	for _, r := range results {
		codes = append(codes, r.Error.Code())
	}
	if !slices.Equal(codes, []kafka.ErrorCode{kafka.ErrNoError, kafka.ErrTopicException,
		kafka.ErrInvalidReplicaAssignment, kafka.ErrInvalidConfig, kafka.ErrNoError,
		kafka.ErrInvalidPartitions, kafka.ErrInvalidReplicationFactor}) {
		t.Errorf("got %v", results)
	}
	results, err = a.CreateTopics(ctx, []kafka.TopicSpecification{{Topic: "t", NumPartitions: 2}})
	if err != nil || results[0].Error.Code() != kafka.ErrTopicAlreadyExists {
		t.Errorf("got %v, %v", results, err)
	}
	_, err = a.CreateTopics(ctx, []kafka.TopicSpecification{{Topic: "v"}},
		kafka.SetAdminValidateOnly(true))
	hasCode(t, err, kafka.ErrUnsupportedFeature)

	results, err = a.CreatePartitions(ctx, []kafka.PartitionsSpecification{
		{Topic: "t", IncreaseTo: 3}, {Topic: "t", IncreaseTo: 3}, {Topic: "none", IncreaseTo: 3}})
	if err != nil || results[0].Error.Code() != kafka.ErrNoError ||
		results[1].Error.Code() != kafka.ErrInvalidPartitions ||
		results[2].Error.Code() != kafka.ErrUnknownTopicOrPart {
		t.Errorf("got %v, %v", results, err)
	}
	described, err := a.DescribeTopics(ctx,
		kafka.NewTopicCollectionOfTopicNames([]string{"t", "none"}))
	if err != nil {
		t.Fatal(err)
	}
	d := described.TopicDescriptions
	if len(d[0].Partitions) != 3 || d[0].Partitions[2].Leader == nil ||
		len(d[0].Partitions[0].Isr) != 1 || d[0].TopicID == (kafka.UUID{}) {
		t.Errorf("t is %+v", d[0])
	}
	if d[1].Error.Code() != kafka.ErrUnknownTopicOrPart {
		t.Errorf("none is %+v", d[1])
	}
	results, err = a.DeleteTopics(ctx, []string{"t", "none"})
	if err != nil || results[0].Error.Code() != kafka.ErrNoError ||
		results[1].Error.Code() != kafka.ErrUnknownTopicOrPart {
		t.Errorf("got %v, %v", results, err)
	}
}

// changeable are the settings that Kafka has too.
var changeable = []string{
	"cleanup.policy", "compression.type", "delete.retention.ms", "max.message.bytes",
	"message.timestamp.type", "retention.bytes", "retention.ms", "segment.bytes", "segment.ms",
}

func TestConfigs(t *testing.T) {
	address := ropewalktest.Start(t).Address
	a, ctx := newAdmin(t, address), testContext(t)
	createTopic(t, address, "t", 1)
	topic := kafka.ConfigResource{Type: kafka.ResourceTopic, Name: "t"}
	config := func() map[string]kafka.ConfigEntryResult {
		t.Helper()
		results, err := a.DescribeConfigs(ctx, []kafka.ConfigResource{topic})
		if err != nil || results[0].Error.Code() != kafka.ErrNoError {
			t.Fatal(results, err)
		}
		return results[0].Config
	}
	for name, entry := range config() {
		if entry.IsReadOnly != (name != "record.ttl.ms" && !slices.Contains(changeable, name)) {
			t.Errorf("%s is read-only: %v", name, entry.IsReadOnly)
		}
		if !entry.IsDefault || entry.Source != kafka.ConfigSourceDefault {
			t.Errorf("%s of a new topic is %+v", name, entry)
		}
	}
	alter := func(name, value string, op kafka.AlterConfigOpType) kafka.Error {
		t.Helper()
		r := topic
		r.Config = []kafka.ConfigEntry{{Name: name, Value: value, IncrementalOperation: op}}
		results, err := a.IncrementalAlterConfigs(ctx, []kafka.ConfigResource{r})
		if err != nil {
			t.Fatal(err)
		}
		return results[0].Error
	}
	alter("retention.ms", "7200000", kafka.AlterConfigOpTypeSet)
	alter("cleanup.policy", "compact", kafka.AlterConfigOpTypeAppend)
	alter("compression.type", "zstd", kafka.AlterConfigOpTypeSet)
	// What is so anyway may be asked for.
	e := alter("min.insync.replicas", "1", kafka.AlterConfigOpTypeSet)
	if e.Code() != kafka.ErrNoError {
		t.Error(e)
	}
	hasCode(t, alter("min.insync.replicas", "2", kafka.AlterConfigOpTypeSet), kafka.ErrInvalidConfig)
	hasCode(t, alter("segment.bytes", "1", kafka.AlterConfigOpTypeSet), kafka.ErrInvalidConfig)
	now := config()
	if now["retention.ms"].Value != "7200000" || now["retention.ms"].IsDefault ||
		now["cleanup.policy"].Value != "compact,delete" || now["compression.type"].Value != "zstd" {
		t.Errorf("the settings are %v", now)
	}
	alter("cleanup.policy", "delete", kafka.AlterConfigOpTypeSubtract)
	alter("retention.ms", "", kafka.AlterConfigOpTypeDelete)
	if now = config(); now["cleanup.policy"].Value != "compact" || !now["retention.ms"].IsDefault {
		t.Errorf("the settings are %v", now)
	}
	hasCode(t, alter("retension.ms", "1", kafka.AlterConfigOpTypeSet), kafka.ErrInvalidConfig)
	hasCode(t, alter("retention.ms", "soon", kafka.AlterConfigOpTypeSet), kafka.ErrInvalidConfig)
	// AlterConfigs sets back what is not named.
	topic.Config = []kafka.ConfigEntry{{Name: "max.message.bytes", Value: "5000"}}
	if _, err := a.AlterConfigs(ctx, []kafka.ConfigResource{topic}); err != nil {
		t.Fatal(err)
	}
	if now = config(); now["max.message.bytes"].Value != "5000" || !now["compression.type"].IsDefault {
		t.Errorf("the settings are %v", now)
	}
	results, err := a.DescribeConfigs(ctx,
		[]kafka.ConfigResource{{Type: kafka.ResourceBroker, Name: "1"}})
	if err != nil || results[0].Error.Code() != kafka.ErrUnsupportedFeature {
		t.Error(results, err)
	}
}

func TestGroups(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, "t"
	a, ctx := newAdmin(t, address), testContext(t)
	produce(t, address, topic, "a", "b", "c")
	c := newConsumer(t, address, "g", "client.id", "reader")
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "a")
	described, err := a.DescribeConsumerGroups(ctx, []string{"g", "none"})
	if err != nil {
		t.Fatal(err)
	}
	g := described.ConsumerGroupDescriptions
	if g[0].State != kafka.ConsumerGroupStateStable || len(g[0].Members) != 1 ||
		g[0].Members[0].ClientID != "reader" || g[0].PartitionAssignor != "range" ||
		len(g[0].Members[0].Assignment.TopicPartitions) != 1 {
		t.Errorf("the group is %+v", g[0])
	}
	if g[1].Error.Code() != kafka.ErrGroupIDNotFound || g[1].State.String() != "Dead" {
		t.Errorf("no group is %+v", g[1])
	}
	deleted, err := a.DeleteConsumerGroups(ctx, []string{"g"})
	if err != nil || deleted.ConsumerGroupResults[0].Error.Code() != kafka.ErrNonEmptyGroup {
		t.Error(deleted, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	list, err := a.ListConsumerGroups(ctx, kafka.SetAdminMatchConsumerGroupStates(
		[]kafka.ConsumerGroupState{kafka.ConsumerGroupStateEmpty}))
	if err != nil || len(list.Valid) != 1 || list.Valid[0].GroupID != "g" {
		t.Errorf("empty are %v, %v", list, err)
	}
	altered, err := a.AlterConsumerGroupOffsets(ctx, []kafka.ConsumerGroupTopicPartitions{
		{Group: "g", Partitions: []kafka.TopicPartition{{Topic: &topic, Offset: 2}}}})
	if err != nil || altered.ConsumerGroupsTopicPartitions[0].Partitions[0].Error != nil {
		t.Fatal(altered, err)
	}
	offsets, err := a.ListConsumerGroupOffsets(ctx,
		[]kafka.ConsumerGroupTopicPartitions{{Group: "g"}})
	if err != nil || offsets.ConsumerGroupsTopicPartitions[0].Partitions[0].Offset != 2 {
		t.Fatal(offsets, err)
	}
	deleted, err = a.DeleteConsumerGroups(ctx, []string{"g"})
	if err != nil || deleted.ConsumerGroupResults[0].Error.Code() != kafka.ErrNoError {
		t.Error(deleted, err)
	}
}

func TestOffsetsAndRecords(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, "t"
	a, ctx := newAdmin(t, address), testContext(t)
	produce(t, address, topic, "a", "b", "c")
	zero := kafka.TopicPartition{Topic: &topic}
	missing := kafka.TopicPartition{Topic: &topic, Partition: 9}
	offset := func(spec kafka.OffsetSpec) kafka.ListOffsetsResultInfo {
		t.Helper()
		found, err := a.ListOffsets(ctx,
			map[kafka.TopicPartition]kafka.OffsetSpec{zero: spec, missing: spec})
		if err != nil {
			t.Fatal(err)
		}
		if spec != kafka.MaxTimestampOffsetSpec {
			hasCode(t, found.ResultInfos[missing].Error, kafka.ErrUnknownTopicOrPart)
		}
		return found.ResultInfos[zero]
	}
	long := time.Now().Add(-time.Hour).UnixMilli()
	if e, l := offset(kafka.EarliestOffsetSpec), offset(kafka.LatestOffsetSpec); e.Offset != 0 ||
		l.Offset != 3 || l.Timestamp != -1 {
		t.Errorf("earliest is %+v, latest %+v", e, l)
	}
	if at := offset(kafka.NewOffsetSpecForTimestamp(long)); at.Offset != 0 || at.Timestamp < long {
		t.Errorf("by time it is %+v", at)
	}
	hasCode(t, offset(kafka.MaxTimestampOffsetSpec).Error, kafka.ErrUnsupportedFeature)

	deleted, err := a.DeleteRecords(ctx, []kafka.TopicPartition{
		{Topic: &topic, Offset: 2}, {Topic: &topic, Partition: 9, Offset: 1}})
	if err != nil {
		t.Fatal(err)
	}
	r := deleted.DeleteRecordsResults
	if r[0].DeletedRecords == nil || r[0].DeletedRecords.LowWatermark != 2 {
		t.Errorf("deleted %+v", r[0])
	}
	hasCode(t, r[1].TopicPartition.Error, kafka.ErrUnknownTopicOrPart)

	p := newProducer(t, address)
	times, err := p.OffsetsForTimes([]kafka.TopicPartition{
		{Topic: &topic, Offset: kafka.Offset(long)},
		{Topic: &topic, Offset: kafka.Offset(time.Now().Add(time.Hour).UnixMilli())},
	}, 5000)
	if err != nil || times[0].Offset != 2 || times[1].Offset != kafka.OffsetEnd {
		t.Errorf("by time they are %v, %v", times, err)
	}
}

func TestCluster(t *testing.T) {
	address := ropewalktest.Start(t).Address
	p, ctx := newProducer(t, address), testContext(t)
	a, err := kafka.NewAdminClientFromProducer(p)
	if err != nil {
		t.Fatal(err)
	}
	id, err := a.ClusterID(ctx)
	if err != nil || id == "" {
		t.Error(id, err)
	}
	described, err := a.DescribeCluster(ctx)
	if err != nil || *described.ClusterID != id || len(described.Nodes) != 1 {
		t.Errorf("the cluster is %+v, %v", described, err)
	}
	controller, err := a.ControllerID(ctx)
	if err != nil || described.Controller == nil || described.Controller.ID != int(controller) {
		t.Errorf("the controller is %d, %v", controller, err)
	}
	createTopic(t, address, "t", 2)
	topic := "t"
	md, err := a.GetMetadata(&topic, false, 5000)
	if err != nil || len(md.Topics["t"].Partitions) != 2 || len(md.Brokers) != 1 ||
		md.Topics["t"].Partitions[1].Leader != md.Brokers[0].ID {
		t.Errorf("the metadata are %+v, %v", md, err)
	}
	none := "none"
	md, err = p.GetMetadata(&none, false, 5000)
	if err != nil || md.Topics["none"].Error.Code() != kafka.ErrUnknownTopicOrPart {
		t.Errorf("the metadata are %+v, %v", md, err)
	}
	p.Close()
	if _, err := a.ClusterID(ctx); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
	a.Close()
}
