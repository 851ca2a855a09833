package kafka_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a test waits for.
const patience = 30 * time.Second

// eachBroker runs a test against the server in memory and against the real broker.
func eachBroker(t *testing.T, test func(t *testing.T, address string)) {
	t.Run("memory", func(t *testing.T) { test(t, newServer(t).Address()) })
	t.Run("broker", func(t *testing.T) { test(t, ropewalktest.Start(t).Address) })
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

var names atomic.Int64

func newName(prefix string) string { return fmt.Sprintf("%s-%d", prefix, names.Add(1)) }

// with are the settings of a client of a broker, and others: name, value, name, value ...
func with(address string, more ...any) *kafka.ConfigMap {
	conf := kafka.ConfigMap{"bootstrap.servers": address, "log_level": 3}
	for i := 0; i < len(more); i += 2 {
		conf[more[i].(string)] = more[i+1]
	}
	return &conf
}

func newProducer(t testing.TB, address string, more ...any) *kafka.Producer {
	t.Helper()
	p, err := kafka.NewProducer(with(address, more...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// message is one for partition 0.
func message(topic, value string) *kafka.Message {
	return &kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &topic}, Value: []byte(value),
	}
}

// produce appends values to partition 0, and waits for their reports.
func produce(t testing.TB, address, topic string, values ...string) {
	t.Helper()
	messages := make([]*kafka.Message, len(values))
	for i, value := range values {
		messages[i] = message(topic, value)
	}
	produceAll(t, address, messages...)
}

func produceAll(t testing.TB, address string, messages ...*kafka.Message) {
	t.Helper()
	p := newProducer(t, address)
	reports := make(chan kafka.Event, len(messages))
	for _, m := range messages {
		if err := p.Produce(m, reports); err != nil {
			t.Fatal(err)
		}
	}
	for range messages {
		report := nextEvent(t, reports).(*kafka.Message)
		if report.TopicPartition.Error != nil {
			t.Fatal(report.TopicPartition.Error)
		}
	}
}

func nextEvent(t testing.TB, events <-chan kafka.Event) kafka.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(patience):
		t.Fatal("no event came")
		return nil
	}
}

// until polls a condition.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for", what)
		}
	}
}

func hasCode(t testing.TB, err error, code kafka.ErrorCode) {
	t.Helper()
	e, ok := err.(kafka.Error)
	if !ok || e.Code() != code {
		t.Errorf("got %#v (%v), want code %d (%v)", err, err, int(code), code)
	}
}
