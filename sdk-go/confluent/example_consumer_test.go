package kafka_test

import (
	"fmt"
	"log"
	"sort"
	"time"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
)

// A member of a group that is told what it gets and gives back, and of the ends of partitions and
// of its commits.
func ExampleConsumer() {
	address, stop := exampleBroker() // localhost:9092
	defer stop()
	produceTexts(address, "orders", "12", "13")
	c, err := kafka.NewConsumer(&kafka.ConfigMap{
		"bootstrap.servers":    address,
		"group.id":             "billing",
		"auto.offset.reset":    "earliest",
		"enable.partition.eof": true,
	})
	if err != nil {
		log.Fatal(err)
	}
	var rebalanced kafka.RebalanceCb = func(c *kafka.Consumer, event kafka.Event) error {
		switch ev := event.(type) {
		case kafka.AssignedPartitions:
			fmt.Println("assigned:", len(ev.Partitions))
			return c.Assign(ev.Partitions)
		case kafka.RevokedPartitions:
			fmt.Println("revoked:", len(ev.Partitions), "lost:", c.AssignmentLost())
			return c.Unassign()
		}
		return nil
	}
	if err := c.SubscribeTopics([]string{"orders"}, rebalanced); err != nil {
		log.Fatal(err)
	}
	for run := true; run; {
		switch ev := c.Poll(100).(type) {
		case *kafka.Message:
			fmt.Printf("%v: %s\n", ev.TopicPartition, ev.Value)
		case kafka.PartitionEOF:
			fmt.Println("the end is at", ev.Offset)
			run = false // a program goes on
		case kafka.OffsetsCommitted:
			if ev.Error != nil {
				log.Println("not committed:", ev.Error)
			}
		case kafka.Error:
			log.Println(ev) // the client recovers by itself, unless it IsFatal
			run = !ev.IsFatal()
		}
	}
	if err := c.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// assigned: 1
	// orders[0]@0: 12
	// orders[0]@1: 13
	// the end is at 2
	// revoked: 1 lost: false
}

// Partitions that the program chooses itself, from where it likes.
func ExampleTopicPartition() {
	address, stop := exampleServer() // localhost:9092
	defer stop()
	produceTexts(address, "readings", "a", "b", "c")
	c, err := kafka.NewConsumer(&kafka.ConfigMap{
		"bootstrap.servers": address, "group.id": "report",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	topic := "readings"
	if err := c.Assign([]kafka.TopicPartition{{Topic: &topic, Partition: 0, Offset: 1}}); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		m, err := c.ReadMessage(10 * time.Second)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", m.Value)
	}
	// Output:
	// b
	// c
}

// Offsets as a program has them in its flags, and partitions in order.
func ExampleOffset() {
	var offset kafka.Offset
	for _, text := range []string{"earliest", "42", "latest"} {
		if err := offset.Set(text); err != nil {
			log.Fatal(err)
		}
		fmt.Println(offset, offset == kafka.OffsetBeginning)
	}
	a, b := "a", "b"
	partitions := kafka.TopicPartitions{{Topic: &b, Offset: offset}, {Topic: &a, Offset: 42}}
	sort.Sort(partitions)
	fmt.Println(partitions)
	// Output:
	// beginning true
	// 42 false
	// end false
	// [a[0]@42 b[0]@end]
}
