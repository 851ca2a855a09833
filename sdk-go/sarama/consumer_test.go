package sarama_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// failed waits for an error of a partition consumer.
func failed(t testing.TB, p sarama.PartitionConsumer, want error) {
	t.Helper()
	for {
		select {
		case err := <-p.Errors():
			if err == nil {
				t.Fatalf("the end came without %v", want)
			}
			if errors.Is(err, want) {
				return
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("waited for %v in vain", want)
		}
	}
}

// ended waits for the end of a partition consumer.
func ended(t testing.TB, p sarama.PartitionConsumer) {
	t.Helper()
	for range p.Messages() {
		t.Error("a message comes after the end")
	}
	for range p.Errors() {
	}
}

// Partitions that nobody reads hold up no other, however much waits of them.
func TestConsumerSlowReaders(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		const slow, messages = 6, 24
		withTopic(t, addrs[0], slow+1)
		config := testConfig()
		config.Producer.Partitioner = sarama.NewManualPartitioner
		producer := newProducer(t, addrs, config)
		large := make(sarama.ByteEncoder, 256<<10)
		for partition := range int32(slow + 1) {
			var batch []*sarama.ProducerMessage
			for range messages {
				batch = append(batch,
					&sarama.ProducerMessage{Topic: "t", Partition: partition, Value: large})
			}
			if err := producer.SendMessages(batch); err != nil {
				t.Fatal(err)
			}
		}
		config = testConfig()
		config.ChannelBufferSize = 1
		consumer := newConsumer(t, addrs, config)
		for partition := range int32(slow) {
			consume(t, consumer, "t", partition, sarama.OffsetOldest)
		}
		p := consume(t, consumer, "t", slow, sarama.OffsetOldest)
		for range messages {
			receive(t, p, string(large))
		}
		if marks := consumer.HighWaterMarks()["t"]; len(marks) != slow+1 || marks[0] != messages {
			t.Errorf("high water marks: %v", marks)
		}
	})
}

// The tail of all partitions, with a nil config.
func TestConsumerOfAllPartitions(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		withTopic(t, addrs[0], 3)
		consumer := newConsumer(t, addrs, nil)
		partitions, err := consumer.Partitions("t")
		if err != nil || len(partitions) != 3 {
			t.Fatal(partitions, err)
		}
		var tails []sarama.PartitionConsumer
		for _, partition := range partitions {
			tails = append(tails, consume(t, consumer, "t", partition, sarama.OffsetNewest))
		}
		fill(t, addrs, 3, 1)
		for partition, tail := range tails {
			message := receive(t, tail, fmt.Sprint(partition, "-0"))
			if message.Timestamp.IsZero() || !message.BlockTimestamp.IsZero() || message.Key != nil {
				t.Errorf("%+v", message)
			}
		}
	})
}

// Messages that are deleted before they are read end the partition consumer. So the program
// chooses.
func TestConsumerMeetsAGap(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		client := withTopic(t, addrs[0], 1)
		config := testConfig()
		producer := newProducer(t, addrs, config)
		const messages = 60
		for range messages {
			large := &sarama.ProducerMessage{Topic: "t", Value: make(sarama.ByteEncoder, 256<<10)}
			if _, _, err := producer.SendMessage(large); err != nil {
				t.Fatal(err)
			}
		}
		config.ChannelBufferSize = 1
		config.Consumer.Fetch.Default = 1
		consumer := newConsumer(t, addrs, config)
		p := consume(t, consumer, "t", 0, 0)
		<-p.Messages()
		before := map[int32]int64{0: messages - 1}
		if _, err := client.Admin().DeleteRecords(t.Context(), "t", before); err != nil {
			t.Fatal(err)
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			for range p.Messages() {
			}
		}()
		failed(t, p, sarama.ErrOffsetOutOfRange)
		<-read // what came before the gap may still be in the channel
		ended(t, p)
		gaps := config.MetricRegistry.Get("consumer-gaps").(*sarama.MetricCounter)
		if gaps.Count() != 1 {
			t.Errorf("%d gaps are counted", gaps.Count())
		}
		if _, err := consumer.ConsumePartition("t", 0, 5); !errors.Is(err, sarama.ErrOffsetOutOfRange) {
			t.Errorf("what is gone: %v", err)
		}
		last := consume(t, consumer, "t", 0, sarama.OffsetOldest)
		if message := <-last.Messages(); message.Offset != messages-1 {
			t.Errorf("the oldest is %d", message.Offset)
		}
	})
}

// With Retry.Max a partition is given up after so many failures in a row.
func TestConsumerGivesUp(t *testing.T) {
	server := newServer(t)
	config := testConfig()
	config.Consumer.Retry.Max = 3
	config.ChannelBufferSize = 0
	var pauses []int
	config.Consumer.Retry.BackoffFunc = func(retries int) time.Duration {
		pauses = append(pauses, retries)
		return time.Millisecond
	}
	consumer := newConsumer(t, []string{server.Address()}, config)
	p := consume(t, consumer, "t", 0, sarama.OffsetNewest)
	refused := testserver.Status(codes.Unavailable, "NO_LEADER").Err()
	server.OnSubscribe(func(*pb.SubscribeRequest) error { return refused })
	server.EndSubscribes(refused)
	failed(t, p, sarama.ErrConsumerRetriesExhausted)
	ended(t, p)
	if len(pauses) != 4 || pauses[3] != 4 {
		t.Errorf("pauses: %v", pauses)
	}
	closing(t, p)
}

// A partition that is paused and read anew is still paused.
func TestConsumerKeepsAPause(t *testing.T) {
	addrs := []string{newServer(t).Address()}
	consumer := newConsumer(t, addrs, testConfig())
	first := consume(t, consumer, "t", 0, sarama.OffsetOldest)
	consumer.Pause(map[string][]int32{"t": {0, 7}, "u": {1}})
	closing(t, first)
	second := consume(t, consumer, "t", 0, sarama.OffsetOldest)
	if !second.IsPaused() {
		t.Error("it is not paused")
	}
	producer := newProducer(t, addrs, testConfig())
	if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
		t.Fatal(err)
	}
	consumer.ResumeAll()
	receive(t, second, "x")
	closing(t, second)
	if third := consume(t, consumer, "t", 0, sarama.OffsetOldest); third.IsPaused() {
		t.Error("it was resumed")
	}
}

// suffix adds to each value.
type suffix string

func (s suffix) OnConsume(m *sarama.ConsumerMessage) { m.Value = append(m.Value, s...) }

type panics struct{}

func (panics) OnConsume(*sarama.ConsumerMessage) { panic("no") }

// Interceptors see each message, one after the other; one that panics does no harm.
func TestConsumerInterceptors(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		producer := newProducer(t, addrs, testConfig())
		if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
			t.Fatal(err)
		}
		config := testConfig()
		config.Consumer.IsolationLevel = sarama.ReadCommitted
		config.Consumer.Interceptors = []sarama.ConsumerInterceptor{suffix("a"), panics{}, suffix("b")}
		receive(t, consume(t, newConsumer(t, addrs, config), "t", 0, sarama.OffsetOldest), "xab")
	})
}

// Close returns what nobody has read of the errors.
func TestConsumerClosesWithErrors(t *testing.T) {
	server := newServer(t)
	consumer := newConsumer(t, []string{server.Address()}, testConfig())
	p, err := consumer.ConsumePartition("t", 0, sarama.OffsetNewest)
	if err != nil {
		t.Fatal(err)
	}
	server.EndSubscribes(testserver.Status(codes.Unavailable, "NO_LEADER").Err())
	within(t, "an error waits", func() bool { return len(p.Errors()) > 0 })
	var errs sarama.ConsumerErrors
	if err := p.Close(); !errors.As(err, &errs) || len(errs) == 0 || errs[0].Topic != "t" {
		t.Errorf("%v", err)
	}
}

// A consumer over a client leaves it open, and where topics are not to be created it says so at
// once.
func TestConsumerSharesAClient(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		config := testConfig()
		config.Metadata.AllowAutoTopicCreation = false
		client := newClient(t, addrs, config)
		consumer, err := sarama.NewConsumerFromClient(client)
		if err != nil {
			t.Fatal(err)
		}
		_, err = consumer.ConsumePartition("none", 0, sarama.OffsetNewest)
		if !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
			t.Errorf("a topic that is not there: %v", err)
		}
		withTopic(t, addrs[0], 1)
		p, err := consumer.ConsumePartition("t", 0, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		closing(t, consumer)
		ended(t, p)
		if client.Closed() {
			t.Error("the client is closed")
		}
	})
}
