package sarama_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// fewCalls has a broker take 20 calls at a time on a connection, of which each partition that is
// read is one.
const fewCalls, manyPartitions = "--max-streams-per-connection=20", 45

// A program that reads more partitions than a broker takes calls at a time on one connection has
// its commits, its metadata and what it produces answered.
func TestConsumersOfManyPartitions(t *testing.T) {
	t.Run("few calls", func(t *testing.T) {
		consumersOf(t, manyPartitions, ropewalktest.WithFlags(fewCalls))
	})
	t.Run("as brokers are", func(t *testing.T) { consumersOf(t, 1100) })
}

func consumersOf(t *testing.T, partitions int32, options ...ropewalktest.Option) {
	addrs := []string{ropewalktest.Start(t, options...).Address}
	withTopic(t, addrs[0], partitions)
	config := testConfig()
	config.Net.ReadTimeout = 10 * time.Second
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Producer.Partitioner = sarama.NewManualPartitioner
	client := newClient(t, addrs, config)
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	var all []sarama.PartitionConsumer
	for partition := range partitions {
		all = append(all, consume(t, consumer, "t", partition, sarama.OffsetOldest))
	}

	if err := client.RefreshMetadata("t"); err != nil {
		t.Error("metadata:", err)
	}
	manager := newOffsets(t, client)
	offsets := manage(t, manager, partitions-1)
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
	var batch []*sarama.ProducerMessage
	for partition := range partitions {
		message := text("t", fmt.Sprint(partition))
		message.Partition = partition
		batch = append(batch, message)
	}
	if err := producer.SendMessages(batch); err != nil {
		t.Error("produce:", err)
	}
	closing(t, producer)
	for partition, p := range all {
		receive(t, p, fmt.Sprint(partition))
	}
}

// So has a member of a group that has them all.
func TestGroupOfManyPartitions(t *testing.T) {
	addrs := []string{ropewalktest.Start(t, ropewalktest.WithFlags(fewCalls)).Address}
	client := withTopic(t, addrs[0], manyPartitions)
	fill(t, addrs, manyPartitions, 1)
	reads := marking(func(*sarama.ConsumerMessage) {})
	consuming(t, newGroup(t, addrs, groupConfig()), handler{claim: reads})
	within(t, "all is committed", func() bool {
		group, err := client.Admin().GetGroup(context.Background(), "g")
		if err != nil {
			return false // it is there once its member is
		}
		count := 0
		for _, offset := range group.Offsets {
			if offset.Committed == 1 {
				count++
			}
		}
		return count == manyPartitions
	})
}
