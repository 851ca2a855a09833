package kafka_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

func newConsumer(t testing.TB, address, group string, more ...any) *kafka.Consumer {
	t.Helper()
	more = append([]any{"group.id", group, "auto.offset.reset", "earliest"}, more...)
	c, err := kafka.NewConsumer(with(address, more...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !c.IsClosed() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return c
}

// read waits for a message. Errors that no broker is there yet are none.
func read(t testing.TB, c *kafka.Consumer) *kafka.Message {
	t.Helper()
	m, err := c.ReadMessage(patience)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// expect reads values.
func expect(t testing.TB, c *kafka.Consumer, values ...string) []*kafka.Message {
	t.Helper()
	var list []*kafka.Message
	for _, want := range values {
		m := read(t, c)
		if string(m.Value) != want {
			t.Fatalf("read %q of %v, want %q", m.Value, m, want)
		}
		list = append(list, m)
	}
	return list
}

// pollUntil polls until an event is as it should be, and returns it. Others are dropped, but for
// errors.
func pollUntil[T kafka.Event](t testing.TB, c *kafka.Consumer, fits func(T) bool) T {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		switch e := c.Poll(100).(type) {
		case T:
			if fits == nil || fits(e) {
				return e
			}
		case kafka.Error:
			t.Fatal(e)
		}
	}
	t.Fatalf("no %T came", *new(T))
	panic("not reached")
}

func createTopic(t testing.TB, address, topic string, partitions int) {
	t.Helper()
	a := newAdmin(t, address)
	results, err := a.CreateTopics(testContext(t),
		[]kafka.TopicSpecification{{Topic: topic, NumPartitions: partitions}})
	if err != nil || results[0].Error.Code() != kafka.ErrNoError {
		t.Fatal(err, results)
	}
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A consumer goes on where its group has committed: by itself when it is closed.
func TestSubscribe(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("orders")
	produce(t, address, topic, "a", "b", "c")
	c := newConsumer(t, address, "billing")
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	m := expect(t, c, "a", "b")[1]
	if m.TopicPartition.Offset != 1 || m.Timestamp.IsZero() || m.TopicPartition.LeaderEpoch == nil {
		t.Errorf("the message is %v of %v", m, m.Timestamp)
	}
	if topics, err := c.Subscription(); err != nil || !slices.Equal(topics, []string{topic}) {
		t.Errorf("it has subscribed %v, %v", topics, err)
	}
	assigned, err := c.Assignment()
	if err != nil || len(assigned) != 1 {
		t.Errorf("it has %v, %v", assigned, err)
	}
	at, err := c.Position(assigned)
	if err != nil || at[0].Offset != 2 {
		t.Errorf("it is at %v, %v", at, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	hasCode(t, c.Close(), kafka.ErrState)
	c = newConsumer(t, address, "billing")
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "c")
}

// A message says whose clock its time is of.
func TestTimestampType(t *testing.T) {
	eachBroker(t, func(t *testing.T, address string) {
		for setting, want := range map[string]kafka.TimestampType{
			"CreateTime":    kafka.TimestampCreateTime,
			"LogAppendTime": kafka.TimestampLogAppendTime,
		} {
			topic, made := newName("times"), time.UnixMilli(1_000_000_000_000)
			results, err := newAdmin(t, address).CreateTopics(testContext(t),
				[]kafka.TopicSpecification{{Topic: topic, NumPartitions: 1,
					Config: map[string]string{"message.timestamp.type": setting}}})
			if err != nil || results[0].Error.Code() != kafka.ErrNoError {
				t.Fatal(err, results)
			}
			p := newProducer(t, address)
			m := message(topic, "v")
			m.Timestamp = made
			if err := p.Produce(m, nil); err != nil {
				t.Fatal(err)
			}
			c := newConsumer(t, address, "g")
			first := kafka.TopicPartition{Topic: &topic, Offset: kafka.OffsetBeginning}
			if err := c.Assign([]kafka.TopicPartition{first}); err != nil {
				t.Fatal(err)
			}
			got := read(t, c)
			if got.TimestampType != want ||
				got.Timestamp.Equal(made) != (want == kafka.TimestampCreateTime) {
				t.Errorf("%s: %v, %v", setting, got.TimestampType, got.Timestamp)
			}
		}
	})
}

// Topics are found by expressions, also those that are created later; one that does not exist is
// told of, and not created.
func TestSubscribeByExpression(t *testing.T) {
	address := ropewalktest.Start(t).Address
	produce(t, address, "aFirst-topic", "1")
	produce(t, address, "other", "no")
	c := newConsumer(t, address, "readers")
	if err := c.SubscribeTopics([]string{"^aF.*[Tt]op", "missing"}, nil); err != nil {
		t.Fatal(err)
	}
	missing := false
	for value := ""; value == "" || !missing; {
		switch e := c.Poll(1000).(type) {
		case *kafka.Message:
			if value = string(e.Value); value != "1" {
				t.Fatalf("read %q", value)
			}
		case kafka.Error:
			hasCode(t, e, kafka.ErrUnknownTopicOrPart)
			missing = true
		}
	}
	md, err := c.GetMetadata(nil, true, 10_000)
	if err != nil || len(md.Topics) != 2 {
		t.Errorf("there are %v, %v", md, err)
	}
	produce(t, address, "aFar-Topic", "2")
	produce(t, address, "missing", "3")
	got := []string{string(read(t, c).Value), string(read(t, c).Value)}
	if slices.Sort(got); !slices.Equal(got, []string{"2", "3"}) {
		t.Errorf("read %q", got)
	}
	hasCode(t, c.Subscribe("^(", nil), kafka.ErrInvalidArg)
	many := make([]string, 40) // more than a broker takes one by one
	for i := range many {
		many[i] = fmt.Sprintf("^no-%d.*", i)
	}
	if err := c.SubscribeTopics(append(many, "^aFar"), nil); err != nil {
		t.Fatal(err)
	}
	produce(t, address, "aFar-Topic", "4")
	for string(read(t, c).Value) != "4" {
	}
}

func TestReadMessageTimesOut(t *testing.T) {
	c := newConsumer(t, newServer(t).Address(), "g")
	m, err := c.ReadMessage(20 * time.Millisecond)
	hasCode(t, err, kafka.ErrTimedOut)
	if m != nil || !err.(kafka.Error).IsTimeout() {
		t.Error(m, err)
	}
	if e := c.Poll(0); e != nil {
		t.Error(e)
	}
}

// Offsets that are stored by hand are what is committed.
func TestStoreOffsets(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("stored")
	produce(t, address, topic, "a", "b", "c")
	c := newConsumer(t, address, "g", "enable.auto.offset.store", false)
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	_, err := c.StoreOffsets([]kafka.TopicPartition{{Topic: &topic, Offset: 1}})
	hasCode(t, err, kafka.ErrState)
	messages := expect(t, c, "a", "b", "c")
	_, err = c.Commit()
	hasCode(t, err, kafka.ErrNoOffset)
	if _, err := c.StoreMessage(messages[1]); err != nil {
		t.Fatal(err)
	}
	done, err := c.Commit()
	if err != nil || len(done) != 1 || done[0].Offset != 2 {
		t.Fatal(done, err)
	}
	committed, err := c.Committed(
		[]kafka.TopicPartition{{Topic: &topic}, {Topic: &topic, Partition: 5}}, 5000)
	if err != nil || committed[0].Offset != 2 || committed[1].Offset != kafka.OffsetInvalid {
		t.Errorf("committed is %v, %v", committed, err)
	}
	metadata := "a note"
	if _, err := c.CommitOffsets([]kafka.TopicPartition{
		{Topic: &topic, Offset: 3, Metadata: &metadata},
	}); err != nil {
		t.Fatal(err)
	}
	committed, err = c.Committed([]kafka.TopicPartition{{Topic: &topic}}, 5000)
	if err != nil || committed[0].Offset != 3 || *committed[0].Metadata != metadata {
		t.Errorf("committed is %v, %v", committed, err)
	}
	if _, err := c.CommitMessage(messages[0]); err != nil {
		t.Error(err)
	}
	// One that is not assigned does not keep the others from being stored.
	list, err := c.StoreOffsets([]kafka.TopicPartition{
		{Topic: &topic, Offset: 3}, {Topic: &topic, Partition: 9, Offset: 1}})
	if err != nil || list[0].Error != nil {
		t.Errorf("stored are %v, %v", list, err)
	}
	hasCode(t, list[1].Error, kafka.ErrState)
	if done, err = c.CommitOffsets(nil); err != nil || len(done) != 1 || done[0].Offset != 3 {
		t.Errorf("committed are %v, %v", done, err)
	}
	_, err = c.CommitOffsets([]kafka.TopicPartition{})
	hasCode(t, err, kafka.ErrNoOffset)
	missing := "missing"
	committed, err = c.Committed([]kafka.TopicPartition{{Topic: &missing}, {Topic: &topic}}, 5000)
	if err != nil || committed[1].Offset != 3 || committed[1].Error != nil {
		t.Errorf("committed are %v, %v", committed, err)
	}
	hasCode(t, committed[0].Error, kafka.ErrUnknownTopicOrPart)
	// What stores by itself is not to be stored in.
	_, err = newConsumer(t, address, "other").StoreMessage(messages[0])
	hasCode(t, err, kafka.ErrInvalidArg)
}

// What is read is committed by itself, but for the message that the program may be at still.
func TestAutoCommit(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("auto")
	produce(t, address, topic, "a", "b")
	c := newConsumer(t, address, "g", "auto.commit.interval.ms", 20)
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "a", "b")
	committedAt := func(offset kafka.Offset) func() bool {
		return func() bool {
			committed, err := c.Committed([]kafka.TopicPartition{{Topic: &topic}}, 5000)
			return err == nil && committed[0].Offset == offset
		}
	}
	until(t, "a to be committed", committedAt(1))
	done := pollUntil[kafka.OffsetsCommitted](t, c, nil)
	if done.Error != nil || done.Offsets[0].Offset != 1 {
		t.Errorf("it tells %v", done)
	}
	until(t, "b to be committed", func() bool { c.Poll(10); return committedAt(2)() })
}

func TestPauseResumeSeek(t *testing.T) {
	for _, way := range []string{"subscribed", "assigned"} {
		t.Run(way, func(t *testing.T) {
			address, topic := ropewalktest.Start(t).Address, newName("seek")
			createTopic(t, address, topic, 2)
			produce(t, address, topic, "a", "b", "c")
			c := newConsumer(t, address, "g")
			at := []kafka.TopicPartition{{Topic: &topic}}
			var err error
			if way == "subscribed" {
				err = c.Subscribe(topic, nil)
			} else {
				err = c.Assign([]kafka.TopicPartition{{Topic: &topic, Offset: kafka.OffsetStored},
					{Topic: &topic, Partition: 1, Offset: kafka.OffsetStored}})
			}
			if err != nil {
				t.Fatal(err)
			}
			expect(t, c, "a")
			if err := c.Pause(at); err != nil {
				t.Fatal(err)
			}
			// b and c were at hand before this one was there.
			marker := message(topic, "of the other")
			marker.TopicPartition.Partition = 1
			produceAll(t, address, marker)
			expect(t, c, "of the other")
			if err := c.Resume(at); err != nil {
				t.Fatal(err)
			}
			expect(t, c, "b", "c")
			if err := c.Seek(kafka.TopicPartition{Topic: &topic, Offset: 1}, 0); err != nil {
				t.Fatal(err)
			}
			expect(t, c, "b", "c")
			list, err := c.SeekPartitions([]kafka.TopicPartition{
				{Topic: &topic, Offset: kafka.OffsetBeginning}, {Topic: &topic, Partition: 9}})
			if err != nil || list[0].Error != nil {
				t.Fatal(list, err)
			}
			hasCode(t, list[1].Error, kafka.ErrState)
			expect(t, c, "a")
			err = c.Seek(kafka.TopicPartition{Topic: &topic, Offset: kafka.OffsetTail(1)}, 0)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, c, "c")
		})
	}
}

func TestAssign(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("assign")
	createTopic(t, address, topic, 2)
	produce(t, address, topic, "a", "b")
	c := newConsumer(t, address, "g")
	one := kafka.TopicPartition{Topic: &topic, Partition: 1, Offset: kafka.OffsetEnd}
	zero := kafka.TopicPartition{Topic: &topic, Offset: 1}
	if err := c.Assign([]kafka.TopicPartition{zero}); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "b")
	if err := c.IncrementalAssign([]kafka.TopicPartition{one}); err != nil {
		t.Fatal(err)
	}
	hasCode(t, c.IncrementalAssign([]kafka.TopicPartition{one}), kafka.ErrConflict)
	if list, _ := c.Assignment(); len(list) != 2 || list[0].Offset != 1 {
		t.Errorf("assigned are %v", list)
	}
	if done, err := c.Commit(); err != nil || done[0].Offset != 2 {
		t.Errorf("committed %v, %v", done, err)
	}
	if err := c.IncrementalUnassign([]kafka.TopicPartition{zero}); err != nil {
		t.Fatal(err)
	}
	hasCode(t, c.IncrementalUnassign([]kafka.TopicPartition{zero}), kafka.ErrInvalidArg)
	if err := c.Unassign(); err != nil {
		t.Fatal(err)
	}
	produce(t, address, topic, "c")
	at := []kafka.TopicPartition{{Topic: &topic, Offset: kafka.OffsetInvalid}}
	if err := c.Assign(at); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "c") // where the group has committed
	low, high, err := c.QueryWatermarkOffsets(topic, 0, 5000)
	if err != nil || low != 0 || high != 3 {
		t.Errorf("the watermarks are %d and %d, %v", low, high, err)
	}
	if low, high, _ = c.GetWatermarkOffsets(topic, 0); low != 0 || high != 3 {
		t.Errorf("the watermarks that are known are %d and %d", low, high)
	}
}

// The end of a partition is told, each time that it is reached.
func TestPartitionEOF(t *testing.T) {
	for _, way := range []string{"subscribed", "assigned"} {
		t.Run(way, func(t *testing.T) {
			address, topic := ropewalktest.Start(t).Address, newName("eof")
			produce(t, address, topic, "a")
			c := newConsumer(t, address, "g", "enable.partition.eof", true)
			var err error
			if way == "subscribed" {
				err = c.Subscribe(topic, nil)
			} else {
				err = c.Assign([]kafka.TopicPartition{{Topic: &topic, Offset: kafka.OffsetInvalid}})
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				if m, ok := pollUntil[kafka.Event](t, c, nil).(*kafka.Message); !ok {
					t.Fatalf("got %v", m)
				}
				end, ok := pollUntil[kafka.Event](t, c, nil).(kafka.PartitionEOF)
				if !ok || int(end.Offset) != i+1 || *end.Topic != topic {
					t.Fatalf("got %v", end)
				}
				produce(t, address, topic, fmt.Sprint(i))
			}
		})
	}
}

// The end is told also where no message comes: of a partition that is empty, after a seek to
// its end, and once a partition that was sought while it was paused is read again.
func TestPartitionEOFWithoutMessages(t *testing.T) {
	for _, way := range []string{"subscribed", "assigned"} {
		t.Run(way, func(t *testing.T) {
			address, topic := ropewalktest.Start(t).Address, newName("eof")
			createTopic(t, address, topic, 1)
			c := newConsumer(t, address, "g", "enable.partition.eof", true)
			at := kafka.TopicPartition{Topic: &topic}
			var err error
			if way == "subscribed" {
				err = c.Subscribe(topic, nil)
			} else {
				err = c.Assign([]kafka.TopicPartition{at})
			}
			if err != nil {
				t.Fatal(err)
			}
			endAt := func(offset kafka.Offset) {
				t.Helper()
				pollUntil(t, c, func(e kafka.PartitionEOF) bool { return e.Offset == offset })
			}
			endAt(0)
			produce(t, address, topic, "a", "b")
			expect(t, c, "a", "b")
			endAt(2)
			at.Offset = kafka.OffsetEnd
			if err := c.Seek(at, 0); err != nil {
				t.Fatal(err)
			}
			endAt(2)
			paused := []kafka.TopicPartition{at}
			if err := c.Pause(paused); err != nil {
				t.Fatal(err)
			}
			if err := c.Seek(at, 0); err != nil {
				t.Fatal(err)
			}
			if err := c.Resume(paused); err != nil {
				t.Fatal(err)
			}
			endAt(2)
		})
	}
}

// A consumer that is given partitions at their end is told of it: also one that does not poll them
// at once, and whose callback assigns.
func TestPartitionEOFOfAnAssignment(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("eof")
	produce(t, address, topic, "a")
	c := newConsumer(t, address, "g", "enable.partition.eof", true)
	if err := c.Subscribe(topic, func(c *kafka.Consumer, e kafka.Event) error {
		if e, ok := e.(kafka.AssignedPartitions); ok {
			e.Partitions[0].Offset = kafka.OffsetEnd
			return c.Assign(e.Partitions)
		}
		return c.Unassign()
	}); err != nil {
		t.Fatal(err)
	}
	end := pollUntil[kafka.PartitionEOF](t, c, nil)
	if end.Offset != 1 {
		t.Errorf("its end is %v", end)
	}
}

// Records that are gone are told of, and reading goes on behind them.
func TestGap(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("gap")
	produce(t, address, topic, "a", "b", "c")
	if _, err := newAdmin(t, address).DeleteRecords(testContext(t),
		[]kafka.TopicPartition{{Topic: &topic, Offset: 2}}); err != nil {
		t.Fatal(err)
	}
	c := newConsumer(t, address, "g", "auto.offset.reset", "latest")
	if _, err := c.CommitOffsets([]kafka.TopicPartition{{Topic: &topic, Offset: 0}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	m, err := c.ReadMessage(patience)
	hasCode(t, err, kafka.ErrGap)
	if m != nil {
		t.Error(m)
	}
	expect(t, c, "c")
	if err := c.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if err := c.Assign([]kafka.TopicPartition{{Topic: &topic, Offset: 1}}); err != nil {
		t.Fatal(err)
	}
	_, err = c.ReadMessage(patience)
	hasCode(t, err, kafka.ErrGap)
	expect(t, c, "c")
}

func TestEventsChannel(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("channel")
	produce(t, address, topic, "a", "b")
	c := newConsumer(t, address, "g", "go.events.channel.enable", true, "go.events.channel.size", 1,
		"go.application.rebalance.enable", true, "enable.partition.eof", true)
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for end := false; !end; {
		switch e := nextEvent(t, c.Events()).(type) {
		case kafka.AssignedPartitions:
			seen = append(seen, "assigned")
			if err := c.Assign(e.Partitions); err != nil {
				t.Fatal(err)
			}
		case *kafka.Message:
			seen = append(seen, string(e.Value))
		case kafka.PartitionEOF:
			end = true
		}
	}
	if !slices.Equal(seen, []string{"assigned", "a", "b"}) {
		t.Errorf("seen are %q", seen)
	}
	_, err := c.ReadMessage(0)
	hasCode(t, err, kafka.ErrConflict)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range c.Events() {
	}
}
