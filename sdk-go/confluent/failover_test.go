package kafka_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// createSpread makes the topic t in a new cluster, and returns which broker leads its partition 0,
// from 0. All brokers have told where they are by then: a client whose only broker is killed before
// that has nowhere to go.
func createSpread(t *testing.T, brokers []*ropewalktest.Broker, partitions int32) int {
	t.Helper()
	ctx := testContext(t)
	var admin *ropewalk.Admin
	for _, broker := range brokers {
		client, err := ropewalk.Dial(ctx, []string{broker.Address})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		admin = client.Admin()
		until(t, "the brokers' addresses", func() bool {
			cluster, err := admin.GetCluster(ctx)
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
	if _, err := admin.CreateTopic(ctx, "t", partitions); err != nil {
		t.Fatal(err)
	}
	var leader uint64
	until(t, "a leader", func() bool {
		_, found, err := admin.GetTopic(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		leader = found[0].Leader
		return leader != 0
	})
	return int(leader) - 1
}

// A leader is killed while a producer sends and a group reads, both of which were told of one other
// broker: the program sees no error, and each message is delivered once, in its order.
func TestLeaderIsKilled(t *testing.T) {
	const partitions, count = 3, 3000
	brokers := ropewalktest.StartCluster(t)
	leader := createSpread(t, brokers, partitions)
	address := brokers[(leader+1)%3].Address
	p := newProducer(t, address, "enable.idempotence", true, "delivery.timeout.ms", 60_000)
	c := newConsumer(t, address, "g", "auto.commit.interval.ms", 100)
	if err := c.Subscribe("t", nil); err != nil {
		t.Fatal(err)
	}
	until(t, "the assignment", func() bool {
		refuseErrors(t, c.Poll(10))
		return has(t, c, partitions)()
	})
	killed := make(chan struct{})
	var sends sync.WaitGroup
	t.Cleanup(sends.Wait)
	sends.Go(func() {
		topic := "t"
		for i := range count {
			if i == count/2 {
				<-killed
			}
			if i%20 == 0 {
				time.Sleep(time.Millisecond) // so that the kill falls among batches that are under way
			}
			at := kafka.TopicPartition{Topic: &topic, Partition: int32(i % partitions)}
			m := &kafka.Message{TopicPartition: at, Value: fmt.Append(nil, i), Opaque: i}
			if err := p.Produce(m, nil); err != nil {
				t.Errorf("message %d: %v", i, err)
				return
			}
		}
	})
	kill := sync.OnceFunc(func() {
		brokers[leader].Kill()
		close(killed)
	})
	sends.Go(func() {
		defer kill()
		reportsInOrder(t, p, count, partitions, kill)
	})
	readInOrder(t, c, count, partitions)
	sends.Wait()
	// What was read is committed: whoever comes next in the group gets what is new, and no more.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	produce(t, address, "t", "new")
	next := newConsumer(t, address, "g")
	if err := next.Subscribe("t", nil); err != nil {
		t.Fatal(err)
	}
	expect(t, next, "new")
}

// reportsInOrder takes the reports of messages, which are those of the partitions in turn. After a
// quarter of them it calls kill: then about as many are under way, or about to be.
func reportsInOrder(t *testing.T, p *kafka.Producer, count, partitions int, kill func()) {
	offsets := map[int32]kafka.Offset{}
	for i := range count {
		select {
		case e := <-p.Events():
			report, ok := e.(*kafka.Message)
			if !ok {
				t.Errorf("the producer tells %v", e)
				return
			}
			at := report.TopicPartition
			due := int(at.Partition) + int(offsets[at.Partition])*partitions
			if at.Error != nil || at.Offset != offsets[at.Partition] || report.Opaque != due {
				t.Errorf("message %v is reported as %v, where %d is due", report.Opaque, at, due)
				return
			}
			offsets[at.Partition]++
		case <-time.After(2 * patience):
			t.Errorf("%d of %d messages were reported", i, count)
			return
		}
		if i == count/4 {
			kill()
		}
	}
}

// readInOrder reads messages, which are those of the partitions in turn.
func readInOrder(t *testing.T, c *kafka.Consumer, count, partitions int) {
	t.Helper()
	next := map[int32]int{}
	for deadline, n := time.Now().Add(3*patience), 0; n < count; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d messages were read", n, count)
		}
		m, ok := refuseErrors(t, c.Poll(100)).(*kafka.Message)
		if !ok {
			continue
		}
		at := m.TopicPartition
		due := int(at.Partition) + next[at.Partition]*partitions
		if string(m.Value) != fmt.Sprint(due) || int(at.Offset) != next[at.Partition] {
			t.Fatalf("%v is %q, where %d is due", m, m.Value, due)
		}
		next[at.Partition]++
		n++
	}
}

// refuseErrors fails the test when an event is an error.
func refuseErrors(t *testing.T, e kafka.Event) kafka.Event {
	t.Helper()
	if err, failed := e.(kafka.Error); failed {
		t.Fatalf("the program is told %v (%d)", err, err.Code())
	}
	return e
}
