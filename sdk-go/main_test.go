package ropewalk_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eachBroker runs a test against the server in memory and against the real broker.
func eachBroker(t *testing.T, test func(t *testing.T, client *ropewalk.Client)) {
	t.Run("memory", func(t *testing.T) {
		test(t, dial(t, newServer(t).Address()))
	})
	t.Run("broker", func(t *testing.T) {
		test(t, dial(t, ropewalktest.Start(t).Address))
	})
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

func dial(t testing.TB, address string, options ...ropewalk.ClientOption) *ropewalk.Client {
	t.Helper()
	options = append([]ropewalk.ClientOption{ropewalk.WithLogger(slog.New(slog.DiscardHandler))}, options...)
	client, err := ropewalk.Dial(testContext(t), []string{address}, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return client
}

// testContext bounds a test: what hangs fails with its own message.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func newProducer(
	t testing.TB, client *ropewalk.Client, options ...ropewalk.ProducerOption,
) *ropewalk.Producer {
	t.Helper()
	producer, err := client.NewProducer(options...)
	if err != nil {
		t.Fatal(err)
	}
	return producer
}

func newConsumer(
	t testing.TB, client *ropewalk.Client, options ...ropewalk.ConsumerOption,
) *ropewalk.Consumer {
	t.Helper()
	consumer, err := client.NewConsumer(testContext(t), options...)
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

// produce appends values, in order, to partition 0.
func produce(t testing.TB, client *ropewalk.Client, topic string, values ...string) {
	t.Helper()
	producer := newProducer(t, client, ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
	for _, value := range values {
		if _, err := producer.Send(testContext(t), &ropewalk.Record{Topic: topic, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
}

// expect reads records and compares their values.
func expect(t testing.TB, consumer *ropewalk.Consumer, values ...string) []*ropewalk.Record {
	t.Helper()
	var records []*ropewalk.Record
	for _, want := range values {
		record, err := consumer.Next(testContext(t))
		if err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
		if string(record.Value) != want {
			t.Fatalf("got %q at offset %d, want %q", record.Value, record.Offset, want)
		}
		records = append(records, record)
	}
	return records
}

var names atomic.Int64

func newName(prefix string) string { return fmt.Sprintf("%s-%d", prefix, names.Add(1)) }

// holdAnswers has a server answer no batch until release is closed; arrived has one that has come.
func holdAnswers(server *testserver.Server) (arrived <-chan struct{}, release chan<- struct{}) {
	came, goOn := make(chan struct{}, 1), make(chan struct{})
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		select {
		case came <- struct{}{}:
		default:
		}
		<-goOn
		return nil
	})
	return came, goOn
}
