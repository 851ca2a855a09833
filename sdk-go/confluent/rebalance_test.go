package kafka_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// seen is what a callback was told, as in "+0,1 -0,1 +1".
type seen struct{ events []string }

func (s *seen) note(e kafka.Event) {
	sign, partitions := "+", []kafka.TopicPartition(nil)
	switch e := e.(type) {
	case kafka.AssignedPartitions:
		partitions = e.Partitions
	case kafka.RevokedPartitions:
		sign, partitions = "-", e.Partitions
	}
	list := make([]string, len(partitions))
	for i, p := range partitions {
		list[i] = fmt.Sprint(p.Partition)
	}
	s.events = append(s.events, sign+strings.Join(list, ","))
}

func (s *seen) String() string { return strings.Join(s.events, " ") }

// both polls two consumers, one after the other, until a condition holds.
func both(t testing.TB, a, b *kafka.Consumer, condition func() bool) {
	t.Helper()
	until(t, "both consumers", func() bool {
		a.Poll(10)
		b.Poll(10)
		return condition()
	})
}

func has(t testing.TB, c *kafka.Consumer, n int) func() bool {
	return func() bool {
		assigned, err := c.Assignment()
		if err != nil {
			t.Fatal(err)
		}
		return len(assigned) == n
	}
}

// With range, the program sees all partitions go and come, and what it does not do itself is done.
func TestEagerRebalance(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("eager")
	createTopic(t, address, topic, 2)
	var first, second seen
	a := newConsumer(t, address, "g")
	if err := a.Subscribe(topic, func(c *kafka.Consumer, e kafka.Event) error {
		if c.GetRebalanceProtocol() != "EAGER" || c.AssignmentLost() {
			t.Errorf("protocol %s, lost %v", c.GetRebalanceProtocol(), c.AssignmentLost())
		}
		first.note(e)
		switch e := e.(type) {
		case kafka.AssignedPartitions:
			return c.Assign(e.Partitions)
		default:
			return c.Unassign()
		}
	}); err != nil {
		t.Fatal(err)
	}
	until(t, "the first assignment", func() bool { a.Poll(10); return has(t, a, 2)() })
	b := newConsumer(t, address, "g")
	if err := b.Subscribe(topic, func(c *kafka.Consumer, e kafka.Event) error {
		second.note(e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	both(t, a, b, func() bool { return has(t, a, 1)() && has(t, b, 1)() })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "all partitions", func() bool { a.Poll(10); return has(t, a, 2)() })
	if !slices.Contains([]string{"+0,1 -0,1 +0 -0 +0,1", "+0,1 -0,1 +1 -1 +0,1"}, first.String()) {
		t.Errorf("the first was told %s", &first)
	}
	if !slices.Contains([]string{"+0 -0", "+1 -1"}, second.String()) {
		t.Errorf("the second was told %s", &second)
	}
	a.Close()
	if !strings.HasSuffix(first.String(), "-0,1") {
		t.Errorf("Close told %s", &first)
	}
}

// With cooperative-sticky, only what moves is told of.
func TestCooperativeRebalance(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("cooperative")
	createTopic(t, address, topic, 2)
	var first seen
	settings := []any{"partition.assignment.strategy", "cooperative-sticky"}
	a := newConsumer(t, address, "g", settings...)
	if err := a.Subscribe(topic, func(c *kafka.Consumer, e kafka.Event) error {
		if c.GetRebalanceProtocol() != "COOPERATIVE" {
			t.Errorf("the protocol is %s", c.GetRebalanceProtocol())
		}
		first.note(e)
		switch e := e.(type) {
		case kafka.AssignedPartitions:
			return c.IncrementalAssign(e.Partitions)
		case kafka.RevokedPartitions:
			return c.IncrementalUnassign(e.Partitions)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	until(t, "the first assignment", func() bool { a.Poll(10); return has(t, a, 2)() })
	b := newConsumer(t, address, "g", settings...)
	if err := b.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	both(t, a, b, func() bool { return has(t, a, 1)() && has(t, b, 1)() })
	if !slices.Contains([]string{"+0,1 -0", "+0,1 -1"}, first.String()) {
		t.Errorf("the first was told %s", &first)
	}
}

// A callback chooses where partitions begin, and commits before they go.
func TestCallbackChoosesOffsets(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("chooses")
	produce(t, address, topic, "a", "b", "c")
	c := newConsumer(t, address, "g", "enable.auto.commit", false)
	committed := false
	if err := c.Subscribe(topic, func(c *kafka.Consumer, e kafka.Event) error {
		switch e := e.(type) {
		case kafka.AssignedPartitions:
			e.Partitions[0].Offset = 1
			return c.Assign(e.Partitions)
		case kafka.RevokedPartitions:
			_, err := c.Commit()
			committed = err == nil
			return err
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "b")
	hasCode(t, c.Assign([]kafka.TopicPartition{{Topic: &topic, Partition: 3}}), kafka.ErrState)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if !committed {
		t.Error("the callback could not commit")
	}
	c = newConsumer(t, address, "g")
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "c")
}

// A program that commits itself and is told that all goes reads again what it has not committed.
func TestEagerProgramReadsAgain(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("again")
	createTopic(t, address, topic, 2)
	produce(t, address, topic, "a", "b")
	told := 0
	a := newConsumer(t, address, "g", "enable.auto.commit", false)
	callback := func(*kafka.Consumer, kafka.Event) error { told++; return nil }
	if err := a.Subscribe(topic, callback); err != nil {
		t.Fatal(err)
	}
	messages := expect(t, a, "a", "b")
	if _, err := a.CommitMessage(messages[0]); err != nil {
		t.Fatal(err)
	}
	b := newConsumer(t, address, "g", "enable.auto.commit", false)
	if err := b.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	// Whoever has partition 0 afterwards reads b.
	got := ""
	until(t, "b", func() bool {
		for _, c := range []*kafka.Consumer{a, b} {
			if m, ok := c.Poll(10).(*kafka.Message); ok {
				got += string(m.Value)
			}
		}
		return got != ""
	})
	if got != "b" || told < 3 {
		t.Errorf("read %q, and was told %d times", got, told)
	}
}

// No message is lost or left out, and none comes twice, while members come and go.
func TestMembersComeAndGo(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("members")
	createTopic(t, address, topic, 4)
	p := newProducer(t, address)
	const n = 400
	for i := range n {
		m := message(topic, fmt.Sprint(i))
		m.TopicPartition.Partition = int32(i % 4)
		if err := p.Produce(m, nil); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]int{}
	take := func(c *kafka.Consumer, polls int) {
		for range polls {
			if m, ok := c.Poll(10).(*kafka.Message); ok {
				got[string(m.Value)]++
			}
		}
	}
	a, b := newConsumer(t, address, "g"), newConsumer(t, address, "g")
	for _, c := range []*kafka.Consumer{a, b} {
		if err := c.Subscribe(topic, nil); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "b to have read something", func() bool { take(a, 3); take(b, 3); return len(got) > 50 })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "everything", func() bool { take(a, 10); return len(got) == n })
	for value, times := range got {
		if times != 1 {
			t.Errorf("%s was read %d times", value, times)
		}
	}
}
