package kafka_test

import (
	"fmt"
	"testing"
	"time"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// An offset that cannot be committed keeps those of other partitions from nothing.
func TestOneOffsetCannotBeCommitted(t *testing.T) {
	eachBroker(t, func(t *testing.T, address string) {
		topic, gone := newName("kept"), newName("gone")
		produce(t, address, topic, "a")
		produce(t, address, gone, "b")
		c := newConsumer(t, address, "g", "enable.auto.offset.store", false,
			"auto.commit.interval.ms", 20)
		at := []kafka.TopicPartition{{Topic: &gone, Offset: 0}, {Topic: &topic, Offset: 0}}
		if err := c.Assign(at); err != nil {
			t.Fatal(err)
		}
		read(t, c)
		read(t, c)
		committedAt := func(offset kafka.Offset) func() bool {
			return func() bool {
				committed, err := c.Committed([]kafka.TopicPartition{{Topic: &topic}}, 5000)
				return err == nil && committed[0].Offset == offset
			}
		}
		// There is no such offset.
		if _, err := c.StoreOffsets([]kafka.TopicPartition{{Topic: &gone, Offset: 99},
			{Topic: &topic, Offset: 0}}); err != nil {
			t.Fatal(err)
		}
		until(t, "the first commit", committedAt(0))
		pollUntil(t, c, func(e kafka.OffsetsCommitted) bool {
			if e.Error == nil || len(e.Offsets) != 2 {
				return false
			}
			for _, at := range e.Offsets {
				if (at.Error != nil) != (*at.Topic == gone) {
					t.Errorf("it was told %v", at)
				}
			}
			return true
		})
		// There is no such topic any more.
		if _, err := newAdmin(t, address).DeleteTopics(testContext(t), []string{gone}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.StoreOffsets([]kafka.TopicPartition{{Topic: &gone, Offset: 1},
			{Topic: &topic, Offset: 1}}); err != nil {
			t.Fatal(err)
		}
		until(t, "the second commit", committedAt(1))
	})
}

// What is held back of a partition that is paused comes once, though a seek to where it begins
// waits for a broker meanwhile.
func TestHeldBackAndSought(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("held")
	createTopic(t, address, topic, 1)
	c := newConsumer(t, address, "g")
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, address, topic, "0")
	expect(t, c, "0")
	at := kafka.TopicPartition{Topic: &topic, Offset: 1}
	if err := c.Pause([]kafka.TopicPartition{at}); err != nil {
		t.Fatal(err)
	}
	var values []string
	for i := range 10 {
		values = append(values, fmt.Sprint(i+1))
	}
	produce(t, address, topic, values...)
	until(t, "all to be held back", func() bool { c.Poll(10); return c.Held() == len(values) })
	c.SeekLater(at)
	until(t, "the place to be found", func() bool { return !c.Looking() })
	if err := c.Resume([]kafka.TopicPartition{at}); err != nil {
		t.Fatal(err)
	}
	produce(t, address, topic, "last")
	expect(t, c, append(values, "last")...)
}

// While no broker answers, a seek of many partitions takes no longer than one of one.
func TestSeekOfManyPartitions(t *testing.T) {
	server, topic := newServer(t), newName("many")
	const n = 12
	createTopic(t, server.Address(), topic, n)
	c := newConsumer(t, server.Address(), "g", "enable.auto.commit", false)
	at := make([]kafka.TopicPartition, n)
	for i := range at {
		at[i] = kafka.TopicPartition{Topic: &topic, Partition: int32(i), Offset: 0}
	}
	if err := c.Assign(at); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.QueryWatermarkOffsets(topic, 0, 10_000); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	began := time.Now()
	list, err := c.SeekPartitions(at)
	if took := time.Since(began); took > n/2*time.Second {
		t.Errorf("it took %v", took)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, tp := range list {
		if tp.Error != nil {
			t.Error(tp)
		}
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
}
