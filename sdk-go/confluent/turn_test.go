package kafka_test

import (
	"sync"
	"sync/atomic"
	"testing"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// held is a callback that waits, the first time, until it may go on.
type held struct {
	inside, proceed chan struct{}
	running, most   atomic.Int32
	calls           atomic.Int32
	then            func(kafka.Event)
}

func newHeld() *held {
	return &held{inside: make(chan struct{}), proceed: make(chan struct{})}
}

func (h *held) callback(_ *kafka.Consumer, e kafka.Event) error {
	h.most.Store(max(h.most.Load(), h.running.Add(1)))
	defer h.running.Add(-1)
	if h.calls.Add(1) == 1 {
		close(h.inside)
		<-h.proceed
	}
	if h.then != nil {
		h.then(e)
	}
	return nil
}

// polled has another goroutine poll until the test ends, or the consumer is closed.
func polled(t testing.TB, c *kafka.Consumer) {
	t.Helper()
	var poller sync.WaitGroup
	poller.Go(func() {
		for !c.IsClosed() {
			c.Poll(50)
		}
	})
	t.Cleanup(func() { _ = c.Close(); poller.Wait() })
}

// subscribed is a consumer with a callback that waits, as it was told of partition 0.
func subscribed(t testing.TB, h *held) *kafka.Consumer {
	t.Helper()
	server := newServer(t)
	produce(t, server.Address(), "t", "v")
	c := newConsumer(t, server.Address(), "g")
	if err := c.Subscribe("t", h.callback); err != nil {
		t.Fatal(err)
	}
	polled(t, c)
	accept(t, server).Send(&pb.Assignment{Generation: 2,
		Assigned: []*pb.PartitionPosition{{Topic: "t"}}})
	<-h.inside
	return c
}

// Close waits for a callback that another goroutine runs: it does not run beside it, nor is it
// refused, and the callback may do what it does always.
func TestCloseWaitsForCallback(t *testing.T) {
	h := newHeld()
	var c *kafka.Consumer
	var assigned error
	h.then = func(e kafka.Event) {
		if e, ok := e.(kafka.AssignedPartitions); ok {
			assigned = c.Assign(e.Partitions)
		}
	}
	c = subscribed(t, h)
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	until(t, "Close to wait", func() bool { return c.Waiting() == 1 })
	close(h.proceed)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if h.most.Load() != 1 || h.calls.Load() != 2 || assigned != nil {
		t.Errorf("%d callbacks, %d at once; it could not assign: %v",
			h.calls.Load(), h.most.Load(), assigned)
	}
}

// The callback that Close runs may ask all that others may.
func TestCallbackOfClose(t *testing.T) {
	server := newServer(t)
	produce(t, server.Address(), "t", "v")
	c := newConsumer(t, server.Address(), "g")
	revoked := false
	if err := c.Subscribe("t", func(c *kafka.Consumer, e kafka.Event) error {
		if _, revoked = e.(kafka.RevokedPartitions); !revoked {
			return nil
		}
		topic := "t"
		if c.IsClosed() {
			t.Error("it is closed")
		}
		if _, high, err := c.QueryWatermarkOffsets("t", 0, 10_000); err != nil || high != 1 {
			t.Errorf("the end is %d, %v", high, err)
		}
		if _, err := c.OffsetsForTimes([]kafka.TopicPartition{{Topic: &topic}}, 10_000); err != nil {
			t.Error(err)
		}
		if _, err := c.GetMetadata(&topic, false, 10_000); err != nil {
			t.Error(err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	accept(t, server).Send(given(2, position("t", 0, 0)))
	until(t, "the assignment", func() bool { c.Poll(10); return has(t, c, 1)() })
	if err := c.Close(); err != nil || !revoked || !c.IsClosed() {
		t.Errorf("it was closed: %v; it was told: %v", err, revoked)
	}
}

// What waited for a callback while the consumer was closed is refused.
func TestCallsEndWithClose(t *testing.T) {
	h := newHeld()
	c := subscribed(t, h)
	results := make(chan error, 2)
	go func() { results <- c.Close() }()
	until(t, "Close to wait", func() bool { return c.Waiting() == 1 })
	go func() { results <- c.Unsubscribe() }() // refused at once, or once Close is through
	close(h.proceed)
	first, second := <-results, <-results
	if first == nil {
		first, second = second, first
	}
	if second != nil {
		t.Error(second)
	}
	hasCode(t, first, kafka.ErrState)
	hasCode(t, c.Assign(nil), kafka.ErrState)
}

// What others call does not stand for what a callback leaves to be done.
func TestOthersAreNotTheCallback(t *testing.T) {
	h := newHeld()
	c := subscribed(t, h)
	topic, result := "t", make(chan error, 1)
	go func() {
		result <- c.IncrementalUnassign([]kafka.TopicPartition{{Topic: &topic, Partition: 7}})
	}()
	until(t, "the call to wait", func() bool { return c.Waiting() == 1 })
	close(h.proceed)
	hasCode(t, <-result, kafka.ErrInvalidArg)
	if !has(t, c, 1)() {
		t.Error("the partition was not assigned")
	}
}

// A callback that polls or closes is told that it must not; one that panics leaves the consumer
// as it was.
func TestCallbackMustNotPoll(t *testing.T) {
	server := newServer(t)
	produce(t, server.Address(), "t", "v")
	c := newConsumer(t, server.Address(), "g")
	panics := true
	if err := c.Subscribe("t", func(c *kafka.Consumer, e kafka.Event) error {
		polled, _ := c.Poll(-1).(kafka.Error)
		hasCode(t, polled, kafka.ErrState)
		_, err := c.ReadMessage(-1)
		hasCode(t, err, kafka.ErrState)
		hasCode(t, c.Close(), kafka.ErrState)
		hasCode(t, c.Unsubscribe(), kafka.ErrState)
		hasCode(t, c.Subscribe("t", nil), kafka.ErrState)
		if panics {
			panics = false
			panic("of the callback")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	accept(t, server).Send(&pb.Assignment{Generation: 2,
		Assigned: []*pb.PartitionPosition{{Topic: "t"}}})
	func() {
		defer func() {
			if recover() != "of the callback" {
				t.Error("it did not panic")
			}
		}()
		pollUntil[*kafka.Message](t, c, nil)
	}()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestGoroutine(t *testing.T) {
	own, other := kafka.Goroutine(), make(chan uint64)
	go func() { other <- kafka.Goroutine() }()
	if o := <-other; own == 0 || o == 0 || own == o || own != kafka.Goroutine() {
		t.Errorf("the goroutines have the numbers %d and %d", own, o)
	}
}
