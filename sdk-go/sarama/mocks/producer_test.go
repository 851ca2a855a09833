package mocks_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
	"github.com/ropewalk/ropewalk/sdk-go/sarama/mocks"
)

var (
	_ sarama.SyncProducer  = (*mocks.SyncProducer)(nil)
	_ sarama.AsyncProducer = (*mocks.AsyncProducer)(nil)
)

var errWrong = errors.New("that is wrong")

func wrong(*sarama.ProducerMessage) error { return errWrong }

func message(topic, value string) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)}
}

// Expectations are met in their order; offsets begin at 1, failures have none.
func TestSyncProducer(t *testing.T) {
	config := mocks.NewTestConfig()
	config.Producer.Partitioner = sarama.NewRoundRobinPartitioner
	producer := mocks.NewSyncProducer(t, config)
	producer.SetDefaultPartitions(2)
	producer.ExpectSendMessageAndSucceed().
		ExpectSendMessageAndFail(sarama.ErrOutOfBrokers).
		ExpectSendMessageAndSucceed()
	for i, want := range []struct {
		partition int32
		offset    int64
		err       error
	}{{0, 1, nil}, {-1, -1, sarama.ErrOutOfBrokers}, {0, 2, nil}} {
		m := message("t", "x")
		partition, offset, err := producer.SendMessage(m)
		if partition != want.partition || offset != want.offset || err != want.err {
			t.Errorf("message %d: %d, %d, %v", i, partition, offset, err)
		}
		if err == nil && (m.Partition != partition || m.Offset != offset) {
			t.Errorf("message %d was not written back: %+v", i, m)
		}
	}
	closing(t, producer)
}

func TestSendMessages(t *testing.T) {
	var r reports
	producer := mocks.NewSyncProducer(&r, nil)
	producer.ExpectSendMessageAndSucceed().ExpectSendMessageAndSucceed().
		ExpectSendMessageAndSucceed().ExpectSendMessageAndFail(errWrong)
	many := []*sarama.ProducerMessage{message("t", "a"), message("t", "b")}
	if err := producer.SendMessages(many); err != nil || many[1].Offset != 2 {
		t.Errorf("offset %d, %v", many[1].Offset, err)
	}
	if err := producer.SendMessages(many); err != errWrong {
		t.Errorf("got %v", err)
	}
	r.want(t)
	if err := producer.SendMessages(many); err == nil {
		t.Error("what was not expected succeeded")
	}
	r.want(t, "Insufficient expectations set on this mock producer to handle the input messages.")
}

// A check that fails is reported, and is what the message gets.
func TestSyncProducerChecks(t *testing.T) {
	var r reports
	producer := mocks.NewSyncProducer(&r, nil)
	producer.ExpectSendMessageWithMessageCheckerFunctionAndSucceed(wrong).
		ExpectSendMessageWithMessageCheckerFunctionAndFail(wrong, sarama.ErrOutOfBrokers).
		ExpectSendMessageWithCheckerFunctionAndFail(
			func([]byte) error { return nil }, sarama.ErrOutOfBrokers)
	for _, want := range []error{errWrong, errWrong, sarama.ErrOutOfBrokers} {
		if _, _, err := producer.SendMessage(message("t", "x")); err != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	closing(t, producer)
	failed := "Check function returned an error: that is wrong"
	r.want(t, failed, failed)
}

// Each message comes back once, whichever way it fails.
func TestAsyncProducer(t *testing.T) {
	var r reports
	config := mocks.NewTestConfig()
	config.Producer.Return.Successes = true
	producer := mocks.NewAsyncProducer(&r, config).
		ExpectInputAndSucceed().
		ExpectInputAndFail(sarama.ErrOutOfBrokers).
		ExpectInputWithMessageCheckerFunctionAndSucceed(wrong).
		ExpectInputWithCheckerFunctionAndFail(
			func([]byte) error { return nil }, sarama.ErrRequestTimedOut)
	for i := range 5 {
		producer.Input() <- message("t", fmt.Sprint(i))
	}
	m := <-producer.Successes()
	if m.Offset != 1 || m.Value != sarama.StringEncoder("0") {
		t.Errorf("got %+v", m)
	}
	closing(t, producer)
	if _, open := <-producer.Successes(); open {
		t.Error("there is a second success")
	}
	wants := []error{sarama.ErrOutOfBrokers, errWrong, sarama.ErrRequestTimedOut, nil}
	for i, want := range wants {
		err := <-producer.Errors()
		if err == nil || err.Msg.Value != sarama.StringEncoder(fmt.Sprint(i+1)) ||
			want != nil && err.Err != want {
			t.Errorf("error %d: %v", i, err)
		}
	}
	if err, open := <-producer.Errors(); open {
		t.Errorf("there is one more error: %v", err)
	}
	r.want(t, "Check function returned an error: that is wrong",
		"No more expectation set on this mock producer to handle the input message.")
	closing(t, producer)
	producer.AsyncClose()
	producer.Input() <- message("t", "late") // does no harm
}

// brokenPartitioner has no place.
type brokenPartitioner struct{}

func (brokenPartitioner) Partition(*sarama.ProducerMessage, int32) (int32, error) {
	return 0, errWrong
}

func (brokenPartitioner) RequiresConsistency() bool { return false }

func TestPartitioners(t *testing.T) {
	var r reports
	config := mocks.NewTestConfig()
	config.Producer.Partitioner = func(string) sarama.Partitioner { return brokenPartitioner{} }
	producer := mocks.NewSyncProducer(&r, config).ExpectSendMessageAndSucceed()
	if _, _, err := producer.SendMessage(message("t", "x")); err != errWrong {
		t.Errorf("got %v", err)
	}
	r.want(t, "Partitioner returned an error: that is wrong")
	// Partitioners see as many partitions as the topic is to have.
	topics := mocks.NewSyncProducer(t, nil)
	topics.SetPartitions(map[string]int32{"one": 1})
	for range 200 {
		topics.ExpectSendMessageAndSucceed()
	}
	seen := map[string]map[int32]bool{"one": {}, "other": {}}
	for range 100 {
		for topic := range seen {
			partition, _, err := topics.SendMessage(message(topic, "x"))
			if err != nil {
				t.Fatal(err)
			}
			seen[topic][partition] = true
		}
	}
	if len(seen["one"]) != 1 || len(seen["other"]) < 20 {
		t.Errorf("partitions %v", seen)
	}
	closing(t, topics)
}

func TestInvalidConfig(t *testing.T) {
	config := mocks.NewTestConfig()
	config.ChannelBufferSize = 8
	config.Producer.Timeout = 0
	refused := "Invalid mock configuration provided: " + config.Validate().Error()
	var r reports
	closing(t, mocks.NewSyncProducer(&r, config))
	closing(t, mocks.NewAsyncProducer(&r, config))
	closing(t, mocks.NewConsumer(&r, config))
	closing(t, mocks.NewConsumerGroup(&r, config))
	r.want(t, refused, refused, refused, refused)
}
