package sarama_test

import (
	"reflect"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// commitOf commits offset 1 of partition 0 of a topic that has one message.
func commitOf(t *testing.T, addrs []string, admin sarama.ClusterAdmin) {
	t.Helper()
	create(t, admin, "t", 2, 1)
	config := testConfig()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	if _, _, err := newProducer(t, addrs, config).SendMessage(text("t", "x")); err != nil {
		t.Fatal(err)
	}
	done, err := admin.AlterConsumerGroupOffsets("g",
		map[string]map[int32]sarama.OffsetAndMetadata{"t": {0: {Offset: 1, Metadata: "m"}}}, nil)
	if err != nil || done.Errors["t"][0] != sarama.ErrNoError {
		t.Fatalf("committed %+v, %v", done, err)
	}
}

// A topic that does not exist has nothing committed, and hides nothing of the others.
func TestCommittedOffsetsBesideNoTopic(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		admin := newAdmin(t, addrs...)
		commitOf(t, addrs, admin)
		asked := map[string][]int32{"t": {0, 1}, "nowhere": {0}}
		check := func(of interface {
			GetBlock(topic string, partition int32) *sarama.OffsetFetchResponseBlock
		}) {
			t.Helper()
			for place, want := range map[struct {
				topic     string
				partition int32
			}]int64{{"t", 0}: 1, {"t", 1}: -1, {"nowhere", 0}: -1} {
				block := of.GetBlock(place.topic, place.partition)
				if block == nil || block.Offset != want || block.Err != sarama.ErrNoError {
					t.Errorf("%v: %+v, want %d", place, block, want)
				}
			}
		}
		response, err := admin.ListConsumerGroupOffsets("g", asked)
		if err != nil {
			t.Fatal(err)
		}
		check(response)
		groups, err := admin.ListConsumerGroupOffsetsBatch(
			map[string]map[string][]int32{"g": asked, "none": asked})
		if err != nil || len(groups) != 2 {
			t.Fatalf("groups %v, %v", groups, err)
		}
		check(groups["g"])
		if block := groups["none"].GetBlock("t", 0); block == nil || block.Offset != -1 {
			t.Errorf("of no group: %+v", block)
		}
	})
}

// What cannot be committed is answered with its error, and all else is committed.
func TestOffsetsAreAlteredEachByItself(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		admin := newAdmin(t, addrs...)
		commitOf(t, addrs, admin)
		create(t, admin, "u", 1, 1)
		done, err := admin.AlterConsumerGroupOffsets("h",
			map[string]map[int32]sarama.OffsetAndMetadata{
				"t":       {0: {Offset: 1}, 1: {Offset: 99}, 7: {Offset: 0}},
				"u":       {0: {Offset: 0}},
				"nowhere": {0: {Offset: 0}},
			}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]map[int32]sarama.KError{
			"t": {0: sarama.ErrNoError, 1: sarama.ErrOffsetOutOfRange,
				7: sarama.ErrUnknownTopicOrPartition},
			"u":       {0: sarama.ErrNoError},
			"nowhere": {0: sarama.ErrUnknownTopicOrPartition},
		}
		if !reflect.DeepEqual(done.Errors, want) {
			t.Errorf("got %v, want %v", done.Errors, want)
		}
		found, err := admin.ListConsumerGroupOffsets("h", nil)
		if err != nil || found.GetBlock("t", 0) == nil || found.GetBlock("u", 0) == nil ||
			found.GetBlock("t", 0).Offset != 1 || len(found.Blocks["t"]) != 1 {
			t.Errorf("committed %+v, %v", found, err)
		}
	})
}
