package sarama_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// untilGone deletes the topic under a partition consumer, and waits until that has told it twice.
func untilGone(t *testing.T, client *ropewalk.Client, p sarama.PartitionConsumer) {
	t.Helper()
	if err := client.Admin().DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	failed(t, p, sarama.ErrUnknownTopicOrPartition)
	failed(t, p, sarama.ErrUnknownTopicOrPartition)
	_, _, err := client.Admin().GetTopic(context.Background(), "t")
	if !errors.Is(err, ropewalk.ReasonTopicNotFound) {
		t.Errorf("the topic was created again: %v", err)
	}
}

// A topic that is deleted does not end what reads it: there are errors until there is a topic of
// that name, which is read on at the same offset.
func TestConsumerOutlivesItsTopic(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		client := withTopic(t, addrs[0], 1)
		fill(t, addrs, 1, 1)
		var holding atomic.Bool
		held, release := make(chan struct{}, 1), make(chan struct{})
		config := testConfig()
		config.Consumer.Retry.BackoffFunc = func(int) time.Duration {
			if holding.Load() {
				select {
				case held <- struct{}{}:
				default:
				}
				<-release
			}
			return 10 * time.Millisecond
		}
		p := consume(t, newConsumer(t, addrs, config), "t", 0, sarama.OffsetOldest)
		receive(t, p, "0-0")
		untilGone(t, client, p)
		if mark := p.HighWaterMarkOffset(); mark != 1 {
			t.Errorf("the high water mark is %d", mark)
		}
		// It does not look while the new topic is not as long as the old one.
		holding.Store(true)
		<-held
		if _, err := client.Admin().CreateTopic(t.Context(), "t", 1); err != nil {
			t.Fatal(err)
		}
		fill(t, addrs, 1, 2)
		holding.Store(false)
		close(release)
		for got := false; !got; {
			select {
			case m := <-p.Messages():
				if got = true; m == nil || m.Offset != 1 || string(m.Value) != "0-1" {
					t.Errorf("got %+v", m)
				}
			case <-p.Errors():
			case <-time.After(patience):
				t.Fatal("nothing comes of the new topic")
			}
		}
	})
}

// A new topic that does not reach to the offset ends it, so that the program chooses.
func TestConsumerOfANewTopicThatIsShorter(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		client := withTopic(t, addrs[0], 1)
		fill(t, addrs, 1, 1)
		p := consume(t, newConsumer(t, addrs, testConfig()), "t", 0, sarama.OffsetOldest)
		receive(t, p, "0-0")
		untilGone(t, client, p)
		if _, err := client.Admin().CreateTopic(t.Context(), "t", 1); err != nil {
			t.Fatal(err)
		}
		failed(t, p, sarama.ErrOffsetOutOfRange)
		ended(t, p)
	})
}

// With Retry.Max a topic that stays away ends it.
func TestConsumerGivesUpItsTopic(t *testing.T) {
	server := newServer(t)
	addrs := []string{server.Address()}
	client := withTopic(t, addrs[0], 1)
	config := testConfig()
	config.Consumer.Retry.Max = 3
	p := consume(t, newConsumer(t, addrs, config), "t", 0, sarama.OffsetOldest)
	if err := client.Admin().DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	failed(t, p, sarama.ErrConsumerRetriesExhausted)
	ended(t, p)
}

// withTopicAgain is a partition consumer whose topic was gone and is there again, and whose broker
// does not answer it for now.
func withTopicAgain(t *testing.T, server *testserver.Server) sarama.PartitionConsumer {
	var hold atomic.Bool
	held, release := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(release) })
	server.OnSubscribe(func(*pb.SubscribeRequest) error {
		if hold.CompareAndSwap(true, false) {
			close(held)
			<-release
		}
		return nil
	})
	addrs := []string{server.Address()}
	client := withTopic(t, addrs[0], 1)
	config := testConfig()
	config.Net.ReadTimeout = 2 * time.Second
	p := consume(t, newConsumer(t, addrs, config), "t", 0, sarama.OffsetOldest)
	untilGone(t, client, p)
	hold.Store(true)
	if _, err := client.Admin().CreateTopic(t.Context(), "t", 1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-held:
	case <-time.After(patience):
		t.Fatal("it does not read the topic that is there again")
	}
	return p
}

// A broker that does not answer in time, while a topic is looked for, is asked again.
func TestConsumerWhoseTopicIsNotAnsweredFor(t *testing.T) {
	server := newServer(t)
	p := withTopicAgain(t, server)
	fill(t, []string{server.Address()}, 1, 1)
	failed(t, p, sarama.ErrRequestTimedOut)
	receive(t, p, "0-0")
}

// That it is closed while it looks for its topic is no error.
func TestConsumerIsClosedWhileItLooksForItsTopic(t *testing.T) {
	var errs sarama.ConsumerErrors
	if err := withTopicAgain(t, newServer(t)).Close(); err != nil && !errors.As(err, &errs) {
		t.Fatal(err)
	}
	for _, err := range errs {
		if err.Err != sarama.ErrUnknownTopicOrPartition {
			t.Errorf("got %v", err)
		}
	}
}

// That its client is closed meanwhile is no error either.
func TestConsumerWhoseClientIsClosedLooksNoMore(t *testing.T) {
	server := newServer(t)
	core := withTopic(t, server.Address(), 1)
	client := newClient(t, []string{server.Address()}, testConfig())
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	p := consume(t, consumer, "t", 0, sarama.OffsetOldest)
	untilGone(t, core, p)
	closing(t, client)
	for limit := time.After(patience); ; {
		select {
		case err, open := <-p.Errors():
			if !open {
				return
			}
			if err.Err != sarama.ErrUnknownTopicOrPartition {
				t.Errorf("got %v", err)
			}
		case <-limit:
			t.Fatal("it does not end")
		}
	}
}
