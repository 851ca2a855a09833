package mocks_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
	"github.com/ropewalk/ropewalk/sdk-go/sarama/mocks"
)

var (
	_ sarama.Consumer          = (*mocks.Consumer)(nil)
	_ sarama.PartitionConsumer = (*mocks.PartitionConsumer)(nil)
)

func value(v string) *sarama.ConsumerMessage { return &sarama.ConsumerMessage{Value: []byte(v)} }

func consume(
	t *testing.T, c *mocks.Consumer, topic string, partition int32, offset int64,
) sarama.PartitionConsumer {
	t.Helper()
	pc, err := c.ConsumePartition(topic, partition, offset)
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

func TestConsumer(t *testing.T) {
	consumer := mocks.NewConsumer(t, nil)
	consumer.ExpectConsumePartition("t", 0, sarama.OffsetOldest).
		YieldMessage(value("a")).YieldMessage(value("b")).YieldError(sarama.ErrOutOfBrokers)
	consumer.ExpectConsumePartition("t", 1, 123).YieldMessage(value("c"))
	consumer.ExpectConsumePartition("any", 0, mocks.AnyOffset)

	first := consume(t, consumer, "t", 0, sarama.OffsetOldest)
	for i, want := range []string{"a", "b"} {
		m := <-first.Messages()
		if string(m.Value) != want || m.Topic != "t" || m.Partition != 0 || m.Offset != int64(i) {
			t.Errorf("got %+v", m)
		}
	}
	if err := <-first.Errors(); err.Topic != "t" || !errors.Is(err, sarama.ErrOutOfBrokers) {
		t.Errorf("got %v", err)
	}
	second := consume(t, consumer, "t", 1, 123)
	if m := <-second.Messages(); m.Offset != 123 || second.HighWaterMarkOffset() != 124 {
		t.Errorf("offset %d, high water mark %d", m.Offset, second.HighWaterMarkOffset())
	}
	consume(t, consumer, "any", 0, sarama.OffsetNewest)
	if marks := consumer.HighWaterMarks(); marks["t"][0] != 2 || marks["t"][1] != 124 {
		t.Errorf("high water marks %v", marks)
	}
	var configuration sarama.ConfigurationError
	_, err := consumer.ConsumePartition("t", 0, sarama.OffsetOldest)
	if !errors.As(err, &configuration) {
		t.Errorf("a second time: %v", err)
	}
	closing(t, consumer)
	closing(t, consumer)
	if _, open := <-first.Messages(); open {
		t.Error("there is one more message")
	}
}

// What is yielded while a partition is paused comes when it is resumed.
func TestPause(t *testing.T) {
	consumer := mocks.NewConsumer(t, nil)
	paused := consumer.ExpectConsumePartition("t", 0, sarama.OffsetOldest)
	other := consumer.ExpectConsumePartition("t", 1, sarama.OffsetOldest)
	pc := consume(t, consumer, "t", 0, sarama.OffsetOldest)
	consume(t, consumer, "t", 1, sarama.OffsetOldest)
	consumer.Pause(map[string][]int32{"t": {0}})
	if !pc.IsPaused() || other.IsPaused() {
		t.Error("the wrong partition is paused")
	}
	paused.YieldMessage(value("a")).YieldMessage(value("b"))
	if len(pc.Messages()) != 0 || pc.HighWaterMarkOffset() != 0 {
		t.Error("a message came while paused")
	}
	consumer.ResumeAll()
	paused.YieldMessage(value("c"))
	for i, want := range []string{"a", "b", "c"} {
		if m := <-pc.Messages(); string(m.Value) != want || m.Offset != int64(i) {
			t.Errorf("got %+v", m)
		}
	}
	if mark := pc.HighWaterMarkOffset(); mark != 3 {
		t.Errorf("high water mark %d", mark)
	}
	closing(t, consumer)
}

func TestTopicMetadata(t *testing.T) {
	var r reports
	consumer := mocks.NewConsumer(&r, nil)
	if _, err := consumer.Topics(); err != sarama.ErrOutOfBrokers {
		t.Errorf("got %v", err)
	}
	if _, err := consumer.Partitions("a"); err != sarama.ErrOutOfBrokers {
		t.Errorf("got %v", err)
	}
	if len(r.list) != 2 {
		t.Errorf("reported: %q", r.list)
	}
	consumer.SetTopicMetadata(map[string][]int32{"a": {0, 1}, "b": {0}})
	topics, err := consumer.Topics()
	slices.Sort(topics)
	if err != nil || !slices.Equal(topics, []string{"a", "b"}) {
		t.Errorf("got %v, %v", topics, err)
	}
	if partitions, err := consumer.Partitions("a"); err != nil || len(partitions) != 2 {
		t.Errorf("got %v, %v", partitions, err)
	}
	if _, err := consumer.Partitions("c"); err != sarama.ErrUnknownTopicOrPartition {
		t.Errorf("got %v", err)
	}
}

// Whatever is not as expected is reported.
func TestConsumerReports(t *testing.T) {
	var r reports
	consumer := mocks.NewConsumer(&r, nil)
	if _, err := consumer.ConsumePartition("t", 9, 0); err == nil {
		t.Error("a partition that was not expected was consumed")
	}
	consumer.ExpectConsumePartition("t", 0, 5)
	consume(t, consumer, "t", 0, 6)
	r.want(t, "No expectations set for t/9",
		"Unexpected offset when calling ConsumePartition for t/0. Expected 5, got 6.")
	closing(t, consumer)

	r = reports{}
	consumer = mocks.NewConsumer(&r, nil)
	consumer.ExpectConsumePartition("t", 0, 0)
	closing(t, consumer)
	r.want(t, "Expectations set on t/0, but no partition consumer was started.")

	r = reports{}
	consumer = mocks.NewConsumer(&r, nil)
	consumer.ExpectConsumePartition("t", 0, 0).
		YieldMessage(value("a")).YieldMessage(value("b")).ExpectMessagesDrainedOnClose().
		YieldError(sarama.ErrOutOfBrokers).ExpectErrorsDrainedOnClose()
	pc := consume(t, consumer, "t", 0, 0)
	<-pc.Messages()
	var left sarama.ConsumerErrors
	if err := pc.Close(); !errors.As(err, &left) || len(left) != 1 {
		t.Errorf("got %v", err)
	}
	r.want(t, "Expected the errors channel for t/0 to be drained on close, but found 1 errors.",
		"Expected the messages channel for t/0 to be drained on close, but found 1 messages.")
}

// Whoever yields more than there is room for waits for a reader, but not beyond the end.
func TestYieldBeyondTheEnd(t *testing.T) {
	config := mocks.NewTestConfig()
	config.ChannelBufferSize = 1
	consumer := mocks.NewConsumer(t, config)
	expected := consumer.ExpectConsumePartition("t", 0, 0)
	pc := consume(t, consumer, "t", 0, 0)
	expected.YieldMessage(value("a"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		expected.YieldMessage(value("b")).YieldMessage(value("c")).YieldError(errWrong)
	}()
	pc.AsyncClose()
	<-done
	closing(t, consumer)
}
