package sarama_test

import (
	"context"
	"errors"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// MarkOffset goes only forward and ResetOffset only back; Commit keeps both, with automatic commits
// off too, when nothing else is kept.
func TestGroupMarksAndResets(t *testing.T) {
	addrs, client := topicOf(t, 1)
	fill(t, addrs, 1, 10)
	config := groupConfig()
	config.Consumer.Offsets.AutoCommit.Enable = false
	group := newGroup(t, addrs, config)
	session := func(f func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim)) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		err := group.Consume(ctx, []string{"t"}, handler{
			claim: func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
				f(s, c)
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	session(func(s sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) {
		for _, step := range []struct {
			what string
			f    func(string, int32, int64, string)
			to   int64
			want int64
		}{
			{"forward", s.MarkOffset, 5, 5},
			{"not back", s.MarkOffset, 3, 5},
			{"not forward", s.ResetOffset, 7, 5},
			{"back", s.ResetOffset, 2, 2},
			{"forward again", s.MarkOffset, 4, 4},
		} {
			step.f("t", 0, step.to, "why: "+step.what)
			s.Commit()
			if at := describe(t, client).Offsets[0]; at.Committed != step.want {
				t.Errorf("%s: %d is committed", step.what, at.Committed)
			}
		}
		if at := describe(t, client).Offsets[0]; at.Metadata != "why: forward again" {
			t.Errorf("metadata %q", at.Metadata)
		}
		s.MarkOffset("t", 7, 1, "") // not a claim: nothing happens
		s.MarkOffset("t", 0, 9, "marked and not committed")
	})
	session(func(_ sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) {
		if c.InitialOffset() != 4 {
			t.Errorf("it goes on at %d", c.InitialOffset())
		}
	})
	closing(t, group)
	if at := committed(t, client, 0); at != 4 {
		t.Errorf("%d is committed by itself", at)
	}
}

// What is marked is committed from time to time, while the session runs.
func TestGroupCommitsByItself(t *testing.T) {
	addrs, client := topicOf(t, 1)
	fill(t, addrs, 1, 3)
	var got read
	stop := consuming(t, newGroup(t, addrs, groupConfig()), handler{claim: marking(got.note)})
	within(t, "it is committed", func() bool {
		return got.count() == 3 && committed(t, client, 0) == 3
	})
	stop()
}

// A group that has committed nothing begins at the newest message by default, and what comes after
// it is not left out, also when no session runs yet.
func TestGroupBeginsAtTheNewest(t *testing.T) {
	addrs, _ := topicOf(t, 1)
	fill(t, addrs, 1, 3)
	config := groupConfig()
	config.Consumer.Offsets.Initial = sarama.NewConfig().Consumer.Offsets.Initial
	var got read
	started := make(chan int64, 16)
	stop := consuming(t, newGroup(t, addrs, config), handler{
		claim: func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
			started <- c.InitialOffset()
			return marking(func(m *sarama.ConsumerMessage) {
				if m.Offset < 3 {
					t.Errorf("it reads %d", m.Offset)
				}
				got.note(m)
			})(s, c)
		},
	})
	if at := <-started; at != 3 {
		t.Errorf("it begins at %d", at)
	}
	config = testConfig()
	producer := newProducer(t, addrs, config)
	if _, _, err := producer.SendMessage(text("t", "new")); err != nil {
		t.Fatal(err)
	}
	within(t, "the new one is read", func() bool { return got.count() == 1 })
	stop()
}

// What the group committed is gone: the config says whether it goes on elsewhere. What is left out
// is counted, and the new place is committed.
func TestGroupResetsInvalidOffsets(t *testing.T) {
	for name, test := range map[string]struct {
		initial int64
		resets  bool
		begins  int64
	}{
		"to the oldest": {sarama.OffsetOldest, true, 6},
		"to the newest": {sarama.OffsetNewest, true, 10},
		"not at all":    {sarama.OffsetNewest, false, -1},
	} {
		t.Run(name, func(t *testing.T) {
			addrs, client := topicOf(t, 1)
			fill(t, addrs, 1, 10)
			admin, tp := client.Admin(), ropewalk.TopicPartition{Topic: "t"}
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			defer cancel()
			err := admin.CommitOffset(ctx, "g", ropewalk.CommittedOffset{TopicPartition: tp, Offset: 2})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := admin.DeleteRecords(ctx, "t", map[int32]int64{0: 6}); err != nil {
				t.Fatal(err)
			}
			config := groupConfig()
			config.Consumer.Offsets.Initial = test.initial
			config.Consumer.Group.ResetInvalidOffsets = test.resets
			group := newGroup(t, addrs, config)
			began := int64(-1)
			err = group.Consume(ctx, []string{"t"}, handler{
				claim: func(_ sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
					began = c.InitialOffset()
					return nil
				},
			})
			if err != nil || began != test.begins {
				t.Fatalf("it begins at %d, %v", began, err)
			}
			counter := config.MetricRegistry.Get("consumer-gap-messages").(*sarama.MetricCounter)
			if test.resets {
				if at := committed(t, client, 0); at != test.begins {
					t.Errorf("%d is committed", at)
				}
				if counter.Count() != test.begins-2 {
					t.Errorf("%d are counted", counter.Count())
				}
			} else if err := <-group.Errors(); !errors.Is(err, sarama.ErrOffsetOutOfRange) ||
				counter.Count() != 0 {
				t.Errorf("%v, and %d are counted", err, counter.Count())
			}
			closing(t, group)
		})
	}
}

// Messages that are deleted while a claim waits for them end the session, and the next one goes on
// as the config says.
func TestGroupMeetsAGap(t *testing.T) {
	addrs, client := topicOf(t, 1)
	const messages = 60 // of 256 KiB: far more than what is sent ahead
	producer := newProducer(t, addrs, testConfig())
	for range messages {
		large := &sarama.ProducerMessage{Topic: "t", Value: make(sarama.ByteEncoder, 256<<10)}
		if _, _, err := producer.SendMessage(large); err != nil {
			t.Fatal(err)
		}
	}
	config := groupConfig()
	config.ChannelBufferSize = 1
	config.Consumer.Fetch.Default = 1
	release, last := make(chan struct{}), make(chan struct{})
	stop := consuming(t, newGroup(t, addrs, config), handler{
		claim: func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
			<-release
			return marking(func(m *sarama.ConsumerMessage) {
				if m.Offset == messages-1 {
					close(last)
				}
			})(s, c)
		},
	})
	within(t, "it is there", func() bool {
		group, err := client.Admin().GetGroup(context.Background(), "g")
		return err == nil && len(group.Members) == 1
	})
	_, err := client.Admin().DeleteRecords(context.Background(), "t", map[int32]int64{0: messages - 1})
	if err != nil {
		t.Fatal(err)
	}
	close(release)
	select {
	case <-last:
	case <-time.After(60 * time.Second):
		t.Fatal("it does not go on")
	}
	counter := config.MetricRegistry.Get("consumer-gap-messages").(*sarama.MetricCounter)
	if n := counter.Count(); n == 0 || n >= messages {
		t.Errorf("%d are counted", n)
	}
	stop()
}

// A partition that is paused is claimed, and read again when it is resumed.
func TestGroupPauses(t *testing.T) {
	addrs, client := topicOf(t, 2)
	var got read
	claims := make(chan int32, 16)
	group := newGroup(t, addrs, groupConfig())
	stop := consuming(t, group, handler{
		claim: func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
			claims <- c.Partition()
			return marking(got.note)(s, c)
		},
	})
	<-claims
	<-claims
	group.Pause(map[string][]int32{"t": {0}})
	fill(t, addrs, 2, 3)
	within(t, "one is read", func() bool { return got.count() == 3 })
	if at := committed(t, client, 0); at > 0 {
		t.Errorf("%d is committed of what is paused", at)
	}
	group.PauseAll()
	fill(t, addrs, 2, 3)
	group.ResumeAll()
	within(t, "all is read", func() bool { return got.count() >= 6 && committed(t, client, 0) == 6 })
	stop()
}
