package kafka_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// What was to be read behind the end of a partition is read where auto.offset.reset says, and that
// is told. The other partitions, and the member, do not notice.
func TestBeyondTheEnd(t *testing.T) {
	for _, way := range []string{"subscribed", "assigned"} {
		t.Run(way, func(t *testing.T) {
			address, topic := ropewalktest.Start(t).Address, newName("beyond")
			produce(t, address, topic, "a", "b")
			c := newConsumer(t, address, "g")
			told, err := 0, error(nil)
			at := func(offset kafka.Offset) []kafka.TopicPartition {
				return []kafka.TopicPartition{{Topic: &topic, Offset: offset}}
			}
			if way == "subscribed" {
				err = c.Subscribe(topic, func(*kafka.Consumer, kafka.Event) error { told++; return nil })
			} else {
				told, err = 1, c.Assign(at(kafka.OffsetBeginning))
			}
			if err != nil {
				t.Fatal(err)
			}
			expect(t, c, "a", "b")
			for _, change := range []func() error{
				func() error { return c.Seek(at(99)[0], 0) },
				func() error { return c.Assign(at(98)) },
			} {
				if err := change(); err != nil {
					t.Fatal(err)
				}
				_, err = c.ReadMessage(patience)
				hasCode(t, err, kafka.ErrOffsetOutOfRange)
				expect(t, c, "a", "b")
			}
			if told != 1 {
				t.Errorf("the callback was told %d times", told)
			}
			hasCode(t, c.Assign(at(-77)), kafka.ErrInvalidArg)
		})
	}
}

// Without a pause between tries set, a partition and a group that cannot be read are not tried
// without one.
func TestNoReconnectBackoff(t *testing.T) {
	server, topic := newServer(t), newName("refused")
	produce(t, server.Address(), topic, "a")
	refusal := status.Error(codes.FailedPrecondition, "refused")
	var subscribes atomic.Int64
	server.OnSubscribe(func(*pb.SubscribeRequest) error { subscribes.Add(1); return refusal })
	server.RefuseMembers(refusal)
	settings := []any{"reconnect.backoff.ms", 0, "reconnect.backoff.max.ms", 0}
	assigned := newConsumer(t, server.Address(), "g", settings...)
	began := time.Now()
	if err := assigned.Assign([]kafka.TopicPartition{{Topic: &topic}}); err != nil {
		t.Fatal(err)
	}
	until(t, "ten tries", func() bool { assigned.Poll(1); return subscribes.Load() >= 10 })
	if took := time.Since(began); took < 9*8*time.Millisecond {
		t.Errorf("a partition was tried ten times within %v", took)
	}
	began = time.Now()
	member := newConsumer(t, server.Address(), "g", settings...)
	if err := member.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	for tries := 0; tries < 10; {
		if e, ok := member.Poll(1000).(kafka.Error); ok && !e.IsTimeout() {
			tries++
		}
	}
	if took := time.Since(began); took < 9*8*time.Millisecond {
		t.Errorf("it has joined ten times within %v", took)
	}
}

// A partition that is paused while its reader begins anew is resumed where that was to begin, and
// not where the partition was assigned.
func TestResumeWhereReadingBeginsAnew(t *testing.T) {
	for _, way := range []string{"beyond the end", "sought"} {
		t.Run(way, func(t *testing.T) {
			server, topic := newServer(t), newName("anew")
			produce(t, server.Address(), topic, "a", "b")
			c := newConsumer(t, server.Address(), "g", "reconnect.backoff.ms", 3_600_000,
				"reconnect.backoff.max.ms", 3_600_000)
			at := []kafka.TopicPartition{{Topic: &topic, Offset: 99}}
			if way == "sought" {
				at[0].Offset = 1
			}
			if err := c.Assign(at); err != nil {
				t.Fatal(err)
			}
			if way == "sought" {
				expect(t, c, "b")
			} else {
				_, err := c.ReadMessage(patience)
				hasCode(t, err, kafka.ErrOffsetOutOfRange)
				until(t, "it to begin anew", func() bool { return c.Next(at[0]) < 0 })
			}
			if err := c.Pause(at); err != nil {
				t.Fatal(err)
			}
			if way == "sought" {
				c.SeekChosen(kafka.TopicPartition{Topic: &topic, Offset: kafka.OffsetBeginning})
			}
			if err := c.Resume(at); err != nil {
				t.Fatal(err)
			}
			expect(t, c, "a", "b")
			assigned, err := c.Assignment()
			if err != nil || assigned[0].Offset != at[0].Offset {
				t.Errorf("it is assigned as %v, %v", assigned, err)
			}
		})
	}
}

// What did not get into the channel of events any more is not committed.
func TestEventsChannelKeepsWhatIsUnread(t *testing.T) {
	address, topic := newServer(t).Address(), newName("unread")
	produce(t, address, topic, "a", "b", "c")
	c := newConsumer(t, address, "g", "go.events.channel.enable", true, "go.events.channel.size", 1,
		"auto.commit.interval.ms", 0)
	at := []kafka.TopicPartition{{Topic: &topic, Offset: kafka.OffsetStored}}
	if err := c.Assign(at); err != nil {
		t.Fatal(err)
	}
	until(t, "a to be in the channel, and b to wait for room", func() bool {
		position, err := c.Position(at)
		return err == nil && position[0].Offset == 2 && len(c.Events()) == 1
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for e := range c.Events() {
		if m, ok := e.(*kafka.Message); !ok || string(m.Value) != "a" {
			t.Errorf("the channel holds %v", e)
		}
	}
	c = newConsumer(t, address, "g")
	if err := c.Assign(at); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "b", "c")
}

// A topic that takes the place of another is read from its own beginning, and nothing that was
// stored of the other is committed for it.
func TestTopicIsReplaced(t *testing.T) {
	eachBroker(t, func(t *testing.T, address string) {
		topic := newName("again")
		produce(t, address, topic, "a", "b", "c")
		c := newConsumer(t, address, "g", "enable.auto.commit", false)
		at := []kafka.TopicPartition{{Topic: &topic, Offset: kafka.OffsetStored}}
		if err := c.Assign(at); err != nil {
			t.Fatal(err)
		}
		expect(t, c, "a", "b", "c")
		if _, err := newAdmin(t, address).DeleteTopics(testContext(t), []string{topic}); err != nil {
			t.Fatal(err)
		}
		produce(t, address, topic, "1", "2", "3", "4", "5")
		var told []kafka.ErrorCode
		for {
			m, err := c.ReadMessage(patience)
			if err == nil {
				if string(m.Value) != "1" {
					t.Fatalf("read %q first", m.Value)
				}
				break
			}
			told = append(told, err.(kafka.Error).Code())
			if err.(kafka.Error).IsFatal() || err.(kafka.Error).IsTimeout() {
				t.Fatal(err)
			}
		}
		if !slices.Contains(told, kafka.ErrUnknownTopicID) {
			t.Errorf("it was told %v", told)
		}
		if done, err := c.Commit(); err != nil || len(done) != 1 || done[0].Offset != 1 {
			t.Errorf("committed are %v, %v", done, err)
		}
		expect(t, c, "2", "3", "4", "5")
	})
}

// A partition that nobody leads keeps others from nothing.
func TestPartitionWithoutLeader(t *testing.T) {
	server, topic := newServer(t), newName("led")
	address := server.Address()
	createTopic(t, address, topic, 2)
	produce(t, address, topic, "a")
	if err := server.Lead(topic, 1, 99); err != nil {
		t.Fatal(err)
	}
	c := newConsumer(t, address, "g", "enable.partition.eof", true)
	if err := c.Assign([]kafka.TopicPartition{{Topic: &topic, Offset: kafka.OffsetBeginning},
		{Topic: &topic, Partition: 1, Offset: kafka.OffsetBeginning}}); err != nil {
		t.Fatal(err)
	}
	pollUntil(t, c, func(e kafka.PartitionEOF) bool { return e.Partition == 0 })
	list, err := c.OffsetsForTimes([]kafka.TopicPartition{{Topic: &topic, Offset: 0},
		{Topic: &topic, Partition: 1, Offset: 0}}, 2000)
	if err != nil || list[0].Error != nil || list[0].Offset != 0 {
		t.Errorf("got %v, %v", list, err)
	}
	if list[1].Error == nil {
		t.Error("nobody leads partition 1")
	}
}
