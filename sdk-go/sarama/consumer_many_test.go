package sarama_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// More partitions than a broker takes calls at a time on one connection: each is read by a call of
// its own.
const manyPartitions = 45

func fewCalls(t *testing.T) []string {
	t.Helper()
	return []string{ropewalktest.Start(t,
		ropewalktest.WithFlags("--max-streams-per-connection=20")).Address}
}

// A program that reads them all has its commits, its metadata and what it produces answered.
func TestConsumersOfManyPartitions(t *testing.T) {
	addrs := fewCalls(t)
	withTopic(t, addrs[0], manyPartitions)
	config := testConfig()
	config.Net.ReadTimeout = 10 * time.Second
	config.Consumer.Offsets.AutoCommit.Enable = false
	client := newClient(t, addrs, config)
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	var all []sarama.PartitionConsumer
	for partition := range int32(manyPartitions) {
		all = append(all, consume(t, consumer, "t", partition, sarama.OffsetOldest))
	}

	if err := client.RefreshMetadata("t"); err != nil {
		t.Error("metadata:", err)
	}
	manager := newOffsets(t, client)
	offsets := manage(t, manager, manyPartitions-1)
	offsets.MarkOffset(0, "")
	manager.Commit()
	closing(t, manager)
	for err := range offsets.Errors() {
		t.Error("commit:", err)
	}
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := producer.SendMessage(text("u", "x")); err != nil {
		t.Error("produce:", err)
	}
	closing(t, producer)

	fill(t, addrs, manyPartitions, 1)
	for partition, p := range all {
		receive(t, p, fmt.Sprint(partition, "-0"))
	}
}

// So has a member of a group that has them all.
func TestGroupOfManyPartitions(t *testing.T) {
	addrs := fewCalls(t)
	client := withTopic(t, addrs[0], manyPartitions)
	fill(t, addrs, manyPartitions, 1)
	reads := marking(func(*sarama.ConsumerMessage) {})
	consuming(t, newGroup(t, addrs, groupConfig()), handler{claim: reads})
	within(t, "all is committed", func() bool {
		count := 0
		for _, offset := range describe(t, client).Offsets {
			if offset.Committed == 1 {
				count++
			}
		}
		return count == manyPartitions
	})
}
