package sarama_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// createSpread makes a topic in a new cluster, and returns which broker leads its partition 0, from
// 0. All brokers have told where they are by then: a client whose only broker is killed before that
// has nowhere to go.
func createSpread(t *testing.T, brokers []*ropewalktest.Broker, partitions int32) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var client *ropewalk.Client
	for _, broker := range brokers {
		var err error
		if client, err = ropewalk.Dial(ctx, []string{broker.Address}); err != nil {
			t.Fatal(err)
		}
		defer closing(t, client)
		await(t, "the brokers' addresses", func() bool {
			cluster, err := client.Admin().GetCluster(ctx)
			if err != nil {
				t.Fatal(err)
			}
			told := 0
			for _, found := range cluster.Brokers {
				if found.Address != "" {
					told++
				}
			}
			return told == len(brokers)
		})
	}
	if _, err := client.Admin().CreateTopic(ctx, "t", partitions); err != nil {
		t.Fatal(err)
	}
	var leader uint64
	await(t, "a leader", func() bool {
		_, found, err := client.Admin().GetTopic(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		leader = found[0].Leader
		return leader != 0
	})
	return int(leader) - 1
}

// A leader is killed while messages are on their way: the program sees no error, and each message
// is in the log once, in its order.
func TestLeaderIsKilledUnderAnAsyncProducer(t *testing.T) {
	const partitions, count = 3, 3000
	brokers := ropewalktest.StartCluster(t)
	leader := createSpread(t, brokers, partitions)
	config := testConfig()
	config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
	config.Producer.Retry.Max, config.Producer.Retry.Backoff = 1000, 50*time.Millisecond
	config.Producer.Partitioner = sarama.NewManualPartitioner
	addrs := []string{brokers[(leader+1)%3].Address}
	producer := newAsyncProducer(t, addrs, config)
	killed := make(chan struct{})
	go func() {
		for i := range count {
			if i == count/2 {
				<-killed
			}
			m := text("t", fmt.Sprint(i))
			m.Partition = int32(i % partitions)
			producer.Input() <- m
		}
	}()
	next := map[int32]int64{}
	for i := range count {
		select {
		case m := <-producer.Successes():
			if m.Offset != next[m.Partition] {
				t.Fatalf("offset %d of partition %d comes where %d is due",
					m.Offset, m.Partition, next[m.Partition])
			}
			next[m.Partition]++
		case err := <-producer.Errors():
			t.Fatal(err)
		case <-time.After(2 * patience):
			t.Fatalf("%d of %d messages came back", i, count)
		}
		if i == count/4 { // about half of them are under way, or about to be
			brokers[leader].Kill()
			close(killed)
		}
	}
	consumer := newConsumer(t, addrs, testConfig())
	for p := range int32(partitions) {
		partition := consume(t, consumer, "t", p, sarama.OffsetOldest)
		for i := int(p); i < count; i += partitions {
			receive(t, partition, fmt.Sprint(i))
		}
	}
}
