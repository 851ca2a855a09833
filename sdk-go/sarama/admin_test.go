package sarama_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func adminConfig() *sarama.Config {
	config := testConfig()
	config.Version = sarama.V2_8_0_0
	config.Admin.Timeout = 30 * time.Second
	return config
}

func newAdmin(t testing.TB, addrs ...string) sarama.ClusterAdmin {
	t.Helper()
	admin, err := sarama.NewClusterAdmin(addrs, adminConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, admin) })
	return admin
}

func create(t testing.TB, admin sarama.ClusterAdmin, topic string, partitions int32, factor int16) {
	t.Helper()
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: factor}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		t.Fatal(err)
	}
}

func entries(pairs ...string) map[string]*string {
	all := map[string]*string{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = &pairs[i+1]
	}
	return all
}

func topicErrorOf(t testing.TB, err error, want sarama.KError) {
	t.Helper()
	var topic *sarama.TopicError
	if !errors.As(err, &topic) || topic.Err != want || !errors.Is(err, want) || topic.ErrMsg == nil {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestCreateTopicRefuses(t *testing.T) {
	admin := newAdmin(t, ropewalktest.Start(t).Address)
	create(t, admin, "taken", 1, 1)
	broker := newest(t, admin)
	plain := sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}
	tooMany, both := plain, plain
	tooMany.ReplicationFactor = 3
	both.ReplicaAssignment = map[int32][]int32{0: {broker}}
	for name, refused := range map[string]struct {
		detail sarama.TopicDetail
		want   sarama.KError
	}{
		"taken":    {plain, sarama.ErrTopicAlreadyExists},
		"not/good": {plain, sarama.ErrInvalidTopic},
		"empty":    {sarama.TopicDetail{ReplicationFactor: 1}, sarama.ErrInvalidPartitions},
		"huge": {sarama.TopicDetail{NumPartitions: 10_001, ReplicationFactor: 1},
			sarama.ErrInvalidPartitions},
		"bare":   {sarama.TopicDetail{NumPartitions: 1}, sarama.ErrInvalidReplicationFactor},
		"many":   {tooMany, sarama.ErrInvalidReplicationFactor},
		"both":   {both, sarama.ErrInvalidRequest},
		"gap":    {placed(map[int32][]int32{1: {broker}}), sarama.ErrInvalidReplicaAssignment},
		"nobody": {placed(map[int32][]int32{0: {99}}), sarama.ErrInvalidReplicaAssignment},
		"soon":   {withConfig("retention.ms", "soon"), sarama.ErrInvalidConfig},
		"brief":  {withConfig("retention.ms", "999"), sarama.ErrInvalidConfig},
		"tiny":   {withConfig("segment.bytes", "1"), sarama.ErrInvalidConfig},
		"safer":  {withConfig("min.insync.replicas", "2"), sarama.ErrInvalidConfig},
	} {
		t.Run(name, func(t *testing.T) {
			topicErrorOf(t, admin.CreateTopic(name, &refused.detail, false), refused.want)
		})
	}
	topics, err := admin.ListTopics()
	if err != nil || len(topics) != 1 {
		t.Errorf("topics %v, %v", topics, err)
	}
	if err := admin.CreateTopic("", &sarama.TopicDetail{}, false); err != sarama.ErrInvalidTopic {
		t.Errorf("without a name: %v", err)
	}
	if err := admin.CreateTopic("x", nil, false); err == nil {
		t.Error("created without details")
	}
}

func withConfig(pairs ...string) sarama.TopicDetail {
	return sarama.TopicDetail{
		NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: entries(pairs...),
	}
}

func placed(assignment map[int32][]int32) sarama.TopicDetail {
	return sarama.TopicDetail{
		NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: assignment,
	}
}

// newest returns the id of a broker.
func newest(t testing.TB, admin sarama.ClusterAdmin) int32 {
	t.Helper()
	brokers, _, err := admin.DescribeCluster()
	if err != nil || len(brokers) == 0 {
		t.Fatalf("brokers %v, %v", brokers, err)
	}
	return brokers[len(brokers)-1].ID()
}

// With validateOnly, all is looked at, and nothing is made.
func TestValidateOnly(t *testing.T) {
	admin := newAdmin(t, ropewalktest.Start(t).Address)
	good, bad := withConfig("retention.ms", "5000"), withConfig("retention.ms", "x")
	if err := admin.CreateTopic("t", &good, true); err != nil {
		t.Error(err)
	}
	topicErrorOf(t, admin.CreateTopic("t", &bad, true), sarama.ErrInvalidConfig)
	if topics, err := admin.ListTopics(); err != nil || len(topics) != 0 {
		t.Errorf("topics %v, %v", topics, err)
	}
	create(t, admin, "t", 1, 1)
	topicErrorOf(t, admin.CreateTopic("t", &good, true), sarama.ErrTopicAlreadyExists)
	if err := admin.CreatePartitions("t", 3, nil, true); err != nil {
		t.Error(err)
	}
	err := admin.AlterConfig(sarama.TopicResource, "t", entries("retention.ms", "1"), true)
	if err != nil {
		t.Error(err)
	}
	topics, err := admin.ListTopics()
	if err != nil || topics["t"].NumPartitions != 1 || len(topics["t"].ConfigEntries) != 0 {
		t.Errorf("topics %v, %v", topics, err)
	}
}

func TestTopicSettingsByKafkasNames(t *testing.T) {
	admin := newAdmin(t, ropewalktest.Start(t).Address)
	given := entries(
		"retention.ms", "-1", "retention.bytes", "1048576", "cleanup.policy", "delete,compact",
		"segment.bytes", "65536", "segment.ms", "60000", "max.message.bytes", "2000",
		"compression.type", "zstd", "message.timestamp.type", "LogAppendTime",
		"delete.retention.ms", "0", "record.ttl.ms", "90000",
		"min.insync.replicas", "1", "unclean.leader.election.enable", "false")
	detail := &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: given}
	if err := admin.CreateTopic("t", detail, false); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"retention.ms": "-1", "retention.bytes": "1048576", "cleanup.policy": "compact,delete",
		"segment.bytes": "65536", "segment.ms": "60000", "max.message.bytes": "2000",
		"compression.type": "zstd", "message.timestamp.type": "LogAppendTime",
		"delete.retention.ms": "0", "record.ttl.ms": "90000",
	}
	topics, err := admin.ListTopics()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, value := range topics["t"].ConfigEntries {
		got[name] = *value
	}
	if !maps.Equal(got, want) {
		t.Errorf("settings %v, want %v", got, want)
	}
	results, err := admin.DescribeConfigs([]*sarama.ConfigResource{
		{
			Type: sarama.TopicResource, Name: "t",
			ConfigNames: []string{"min.insync.replicas", "retention.ms"},
		},
		{Type: sarama.TopicResource, Name: "nowhere"},
		{Type: sarama.BrokerResource, Name: "1"},
	}, sarama.DescribeConfigsOptions{IncludeSynonyms: true, IncludeDocumentation: true})
	if err != nil || len(results) != 3 {
		t.Fatal(results, err)
	}
	fixed, retention := results[0].Configs[0], results[0].Configs[1]
	if fixed.Value != "1" || !fixed.ReadOnly || !fixed.Default || fixed.Type != sarama.IntConfigType {
		t.Errorf("the setting that is fixed is %+v", fixed)
	}
	if retention.Source != sarama.SourceTopic || len(retention.Synonyms) != 2 ||
		retention.Synonyms[1].ConfigValue != "604800000" || retention.Documentation == nil {
		t.Errorf("the setting that was set is %+v", retention)
	}
	if results[1].ErrorCode != sarama.ErrUnknownTopicOrPartition ||
		results[2].ErrorCode != sarama.ErrUnsupportedVersion || results[2].ErrorMsg == "" {
		t.Errorf("refused: %+v, %+v", results[1], results[2])
	}
}

func TestCreatePartitionsRefuses(t *testing.T) {
	admin := newAdmin(t, ropewalktest.Start(t).Address)
	create(t, admin, "t", 2, 1)
	broker := newest(t, admin)
	for what, err := range map[string]error{
		"fewer":       admin.CreatePartitions("t", 1, nil, false),
		"as many":     admin.CreatePartitions("t", 2, nil, false),
		"too many":    admin.CreatePartitions("t", 10_001, nil, false),
		"half placed": admin.CreatePartitions("t", 4, [][]int32{{broker}}, false),
		"not there":   admin.CreatePartitions("nowhere", 4, nil, false),
	} {
		var refused *sarama.TopicPartitionError
		if !errors.As(err, &refused) || refused.ErrMsg == nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := admin.CreatePartitions("t", 3, [][]int32{{broker}}, false); err != nil {
		t.Error(err)
	}
	described, err := admin.DescribeTopics([]string{"t"})
	if err != nil || len(described[0].Partitions) != 3 || described[0].Uuid == (sarama.Uuid{}) {
		t.Errorf("described %+v, %v", described, err)
	}
}

func TestWhatThereIsNot(t *testing.T) {
	admin := newAdmin(t, newServer(t).Address())
	_, acls := admin.ListAcls(sarama.AclFilter{})
	_, deleted := admin.DeleteACL(sarama.AclFilter{}, false)
	_, dirs := admin.DescribeLogDirs(nil)
	_, users := admin.DescribeUserScramCredentials(nil)
	_, features := admin.UpdateFeatures(nil)
	_, quotas := admin.DescribeClientQuotas(nil, false)
	_, elected := admin.ElectLeaders(sarama.UncleanElection, nil)
	transactions, ok := admin.(sarama.TransactionClusterAdmin)
	if !ok {
		t.Fatal("it does not implement TransactionClusterAdmin")
	}
	_, producers := transactions.DescribeProducers(nil)
	_, listed := transactions.ListTransactions(nil, nil, -1)
	for i, err := range []error{
		acls, deleted, dirs, users, features, quotas, elected, producers, listed,
		admin.CreateACL(sarama.Resource{}, sarama.Acl{}), admin.CreateACLs(nil),
		admin.AlterClientQuotas(nil, sarama.ClientQuotasOp{}, false),
	} {
		if err != sarama.ErrUnsupportedVersion {
			t.Errorf("%d: %v", i, err)
		}
	}
	operation := sarama.AclOperationUnknown
	if err := operation.UnmarshalText([]byte("describeconfigs")); err != nil ||
		operation != sarama.AclOperationDescribeConfigs || operation.String() != "DescribeConfigs" {
		t.Errorf("read as %v, %v", operation.String(), err)
	}
}

// Partitions move to the brokers that are named, and back to their preferred leaders.
func TestReassignAndElect(t *testing.T) {
	brokers := ropewalktest.StartCluster(t)
	admin := newAdmin(t, brokers[0].Address)
	ids := []int32{}
	eventually(t, "of three brokers", func() bool {
		all, controller, err := admin.DescribeCluster()
		ids = ids[:0]
		for _, broker := range all {
			ids = append(ids, broker.ID())
		}
		return err == nil && len(ids) == 3 && controller > 0
	})
	slices.Sort(ids)
	detail := placed(map[int32][]int32{
		0: {ids[0], ids[1], ids[2]}, 1: {ids[1], ids[2], ids[0]},
	})
	if err := admin.CreateTopic("t", &detail, false); err != nil {
		t.Fatal(err)
	}
	partition := func(id int32) *sarama.PartitionMetadata {
		described, err := admin.DescribeTopics([]string{"t"})
		if err != nil || len(described) != 1 || described[0].Err != sarama.ErrNoError {
			t.Fatalf("described %+v, %v", described, err)
		}
		return described[0].Partitions[id]
	}
	for id, preferred := range []int32{ids[0], ids[1]} {
		if got := partition(int32(id)).Replicas; got[0] != preferred || len(got) != 3 {
			t.Errorf("partition %d is on %v", id, got)
		}
	}
	wanted := [][]int32{{ids[2], ids[0], ids[1]}, {ids[0], ids[1], ids[2]}}
	if err := admin.AlterPartitionReassignments("t", wanted); err != nil {
		t.Fatal(err)
	}
	eventually(t, "at rest", func() bool {
		moving, err := admin.ListPartitionReassignments("t", nil)
		return err == nil && len(moving) == 0
	})
	eventually(t, "led by the preferred broker", func() bool {
		results, err := admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{"t": {0, 1, 5}})
		if err != nil || results["t"][5].ErrorCode != sarama.ErrUnknownTopicOrPartition {
			t.Fatal(results, err)
		}
		return results["t"][0].ErrorCode == sarama.ErrElectionNotNeeded &&
			results["t"][1].ErrorCode == sarama.ErrElectionNotNeeded
	})
	if p := partition(0); p.Leader != ids[2] || !slices.Equal(p.Replicas, wanted[0]) {
		t.Errorf("partition 0 is %+v", p)
	}
	err := admin.AlterPartitionReassignments("t", [][]int32{{99, 98, 97}})
	if !errors.Is(err, sarama.ErrReassignPartitions) {
		t.Errorf("to brokers that there are not: %v", err)
	}
	err = admin.AlterPartitionReassignments("t", [][]int32{nil})
	if !errors.Is(err, sarama.ErrUnsupportedVersion) {
		t.Errorf("a move that is called off: %v", err)
	}
}
