package sarama_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eachBroker runs a test against the server in memory and against the real broker.
func eachBroker(t *testing.T, test func(t *testing.T, addrs []string)) {
	t.Run("memory", func(t *testing.T) { test(t, []string{newServer(t).Address()}) })
	t.Run("broker", func(t *testing.T) { test(t, []string{ropewalktest.Start(t).Address}) })
}

func newServer(t testing.TB) *testserver.Server {
	t.Helper()
	server, err := testserver.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

func testConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Retry.Max = 5
	config.Producer.Retry.Backoff = 10 * time.Millisecond
	config.Metadata.Retry.Max = 0
	config.Consumer.Return.Errors = true
	config.Consumer.Retry.Backoff = 10 * time.Millisecond
	return config
}

func newProducer(t testing.TB, addrs []string, config *sarama.Config) sarama.SyncProducer {
	t.Helper()
	producer, err := sarama.NewSyncProducer(addrs, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, producer) })
	return producer
}

func newConsumer(t testing.TB, addrs []string, config *sarama.Config) sarama.Consumer {
	t.Helper()
	consumer, err := sarama.NewConsumer(addrs, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, consumer) })
	return consumer
}

func consume(
	t testing.TB, c sarama.Consumer, topic string, partition int32, offset int64,
) sarama.PartitionConsumer {
	t.Helper()
	partitionConsumer, err := c.ConsumePartition(topic, partition, offset)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, partitionConsumer) })
	return partitionConsumer
}

func closing(t testing.TB, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// receive waits for a message and compares its value.
func receive(t testing.TB, p sarama.PartitionConsumer, want string) *sarama.ConsumerMessage {
	t.Helper()
	select {
	case message := <-p.Messages():
		if message == nil || string(message.Value) != want {
			t.Fatalf("got %v, want %q", message, want)
		}
		return message
	case err := <-p.Errors():
		t.Fatalf("waiting for %q: %v", want, err)
	case <-time.After(10 * time.Second):
		t.Fatalf("waited for %q in vain", want)
	}
	return nil
}

func text(topic, value string) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)}
}

func TestProduceAndConsume(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		producer := newProducer(t, addrs, testConfig())
		consumer := newConsumer(t, addrs, testConfig())
		newest := consume(t, consumer, "t", 0, sarama.OffsetNewest)
		for i := range 3 {
			message := text("t", fmt.Sprint(i))
			message.Key = sarama.ByteEncoder("key")
			message.Headers = []sarama.RecordHeader{{Key: []byte("h"), Value: []byte("v")}}
			partition, offset, err := producer.SendMessage(message)
			if err != nil || partition != 0 || offset != int64(i) {
				t.Fatalf("got %d, %d, %v", partition, offset, err)
			}
			if message.Offset != offset || message.Partition != partition || message.Timestamp.IsZero() {
				t.Errorf("the message was not written back: %+v", message)
			}
		}
		for i := range 3 {
			got := receive(t, newest, fmt.Sprint(i))
			if got.Topic != "t" || got.Offset != int64(i) || string(got.Key) != "key" ||
				got.Timestamp.IsZero() || len(got.Headers) != 1 ||
				string(got.Headers[0].Key) != "h" || string(got.Headers[0].Value) != "v" {
				t.Errorf("got %+v", got)
			}
		}
		if mark := newest.HighWaterMarkOffset(); mark != 3 {
			t.Errorf("high water mark %d, want 3", mark)
		}
		if marks := consumer.HighWaterMarks(); marks["t"][0] != 3 {
			t.Errorf("high water marks %v", marks)
		}
		closing(t, newest)
		receive(t, consume(t, consumer, "t", 0, 1), "1")
	})
}

func TestConsumePartitionRefuses(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		producer := newProducer(t, addrs, testConfig())
		if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
			t.Fatal(err)
		}
		consumer := newConsumer(t, addrs, testConfig())
		open := consume(t, consumer, "t", 0, sarama.OffsetOldest)
		receive(t, open, "x")
		var configuration sarama.ConfigurationError
		_, err := consumer.ConsumePartition("t", 0, sarama.OffsetOldest)
		if !errors.As(err, &configuration) {
			t.Errorf("a second time: %v", err)
		}
		if _, err := consumer.ConsumePartition("t", 3, 0); err != sarama.ErrUnknownTopicOrPartition {
			t.Errorf("unknown partition: %v", err)
		}
		closing(t, open)
		for _, offset := range []int64{2, -3} {
			if _, err := consumer.ConsumePartition("t", 0, offset); err != sarama.ErrOffsetOutOfRange {
				t.Errorf("offset %d: %v", offset, err)
			}
		}
		if _, err := consumer.ConsumePartition("a/b", 0, 0); err != sarama.ErrInvalidTopic {
			t.Errorf("bad name: %v", err)
		}
		if topics, err := consumer.Topics(); err != nil || len(topics) != 1 || topics[0] != "t" {
			t.Errorf("topics %v, %v", topics, err)
		}
		if partitions, err := consumer.Partitions("t"); err != nil || len(partitions) != 1 {
			t.Errorf("partitions %v, %v", partitions, err)
		}
	})
}

func TestSendMessages(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		producer := newProducer(t, addrs, testConfig())
		var messages []*sarama.ProducerMessage
		for i := range 50 {
			messages = append(messages, text("t", fmt.Sprint(i)))
		}
		if err := producer.SendMessages(messages); err != nil {
			t.Fatal(err)
		}
		for i, message := range messages {
			if message.Offset != int64(i) {
				t.Errorf("message %d is at %d", i, message.Offset)
			}
		}
		bad := text("..", "x")
		err := producer.SendMessages([]*sarama.ProducerMessage{text("t", "50"), bad})
		var failures sarama.ProducerErrors
		if !errors.As(err, &failures) || len(failures) != 1 || failures[0].Msg != bad ||
			!errors.Is(failures[0], sarama.ErrInvalidTopic) {
			t.Errorf("got %v", err)
		}
	})
}

func TestProducerErrors(t *testing.T) {
	server := newServer(t)
	addrs := []string{server.Address()}
	config := testConfig()
	config.Producer.MaxMessageBytes = 1000
	producer := newProducer(t, addrs, config)
	expect := func(name string, message *sarama.ProducerMessage, want error) {
		t.Helper()
		partition, offset, err := producer.SendMessage(message)
		if err != want || partition != -1 || offset != -1 {
			t.Errorf("%s: got %d, %d, %v", name, partition, offset, err)
		}
	}
	expect("too large", text("t", string(make([]byte, 1001))), sarama.ConfigurationError(
		"Attempt to produce message larger than configured Producer.MaxMessageBytes: 1037 > 1000"))
	tries := 0
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		tries++
		return &testserver.Fault{Status: testserver.Status(codes.Unavailable, "NO_QUORUM")}
	})
	expect("no quorum", text("t", "x"), sarama.ErrNotEnoughReplicas)
	if want := config.Producer.Retry.Max + 1; tries != want {
		t.Errorf("tried %d times, want %d", tries, want)
	}
	closing(t, producer)
	closing(t, producer)
	expect("closed", text("t", "x"), sarama.ErrShuttingDown)
}

func TestNoBroker(t *testing.T) {
	server := newServer(t)
	server.Stop()
	_, err := sarama.NewSyncProducer([]string{server.Address()}, testConfig())
	if !errors.Is(err, sarama.ErrOutOfBrokers) {
		t.Errorf("got %v", err)
	}
	var wrong sarama.ConfigurationError
	if _, err := sarama.NewConsumer(nil, nil); !errors.As(err, &wrong) {
		t.Errorf("no addresses: %v", err)
	}
	if _, err := sarama.NewSyncProducer(nil, testConfig()); !errors.As(err, &wrong) {
		t.Errorf("a sync producer without addresses: %v", err)
	}
	if _, err := sarama.NewAsyncProducer(nil, testConfig()); !errors.As(err, &wrong) {
		t.Errorf("an async producer without addresses: %v", err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	// The second address serves when the first does not.
	consumer, err := sarama.NewConsumer([]string{"127.0.0.1:1", server.Address()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, consumer)
	closing(t, consumer)
	if _, err := consumer.ConsumePartition("t", 0, 0); !errors.Is(err, sarama.ErrClosedClient) {
		t.Errorf("closed: %v", err)
	}
}

func TestPauseAndResume(t *testing.T) {
	addrs := []string{newServer(t).Address()}
	config := testConfig()
	config.ChannelBufferSize = 0
	producer, consumer := newProducer(t, addrs, testConfig()), newConsumer(t, addrs, config)
	p := consume(t, consumer, "t", 0, sarama.OffsetOldest)
	consumer.PauseAll()
	if !p.IsPaused() {
		t.Error("not paused")
	}
	if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
		t.Fatal(err)
	}
	select {
	case message := <-p.Messages():
		t.Errorf("got %v while paused", message)
	case <-time.After(100 * time.Millisecond):
	}
	consumer.Resume(map[string][]int32{"t": {0}})
	receive(t, p, "x")
}

// A broken stream is reported and resumed.
func TestConsumerReconnects(t *testing.T) {
	server := newServer(t)
	addrs := []string{server.Address()}
	producer, consumer := newProducer(t, addrs, testConfig()), newConsumer(t, addrs, testConfig())
	p := consume(t, consumer, "t", 0, sarama.OffsetNewest)
	server.EndSubscribes(testserver.Status(codes.Unavailable, "BROKER_DRAINING").Err())
	select {
	case err := <-p.Errors():
		if err.Err != sarama.ErrLeaderNotAvailable || err.Topic != "t" {
			t.Errorf("got %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("no error was reported")
	}
	if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
		t.Fatal(err)
	}
	receive(t, p, "x")
}

// Closing the consumer first ends its partition consumers, in whatever order a program closes.
func TestCloseInAnyOrder(t *testing.T) {
	addrs := []string{newServer(t).Address()}
	consumer := newConsumer(t, addrs, testConfig())
	p := consume(t, consumer, "t", 0, sarama.OffsetNewest)
	closing(t, consumer)
	if _, open := <-p.Messages(); open {
		t.Error("a message came after Close")
	}
	closing(t, p)
}
