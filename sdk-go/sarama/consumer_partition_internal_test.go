package sarama

import (
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A partition consumer that gives up while it opens its topic again says so: what is read there may
// break at once, as often as Retry.Max allows.
func TestConsumerGivesUpWhileItReopens(t *testing.T) {
	server := newInternalServer(t)
	config := NewConfig()
	config.Consumer.Return.Errors = true
	config.Consumer.Retry.Backoff = 10 * time.Millisecond
	config.Consumer.Retry.Max = 100_000
	c, err := NewConsumer([]string{server.Address()}, config)
	if err != nil {
		t.Fatal(err)
	}
	read, err := c.ConsumePartition("t", 0, OffsetOldest) // which creates it
	if err != nil {
		t.Fatal(err)
	}
	var broken atomic.Bool
	server.OnSubscribe(func(*pb.SubscribeRequest) error {
		if broken.CompareAndSwap(true, false) {
			read.(*partitionConsumer).pauseBefore(config.Consumer.Retry.Max + 1)
		}
		return nil
	})
	admin := c.(*consumer).core.Admin()
	if err := admin.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if err := <-read.Errors(); err.Err != ErrUnknownTopicOrPartition {
		t.Errorf("got %v", err)
	}
	broken.Store(true)
	if _, err := admin.CreateTopic(t.Context(), "t", 1); err != nil {
		t.Fatal(err)
	}
	var last error
	for err := range read.Errors() {
		last = err.Err
	}
	if last != ErrConsumerRetriesExhausted {
		t.Errorf("it ends with %v", last)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
