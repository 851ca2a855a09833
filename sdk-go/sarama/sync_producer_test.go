package sarama_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// createTopic makes a topic whose records have the time of their append.
func createTopic(t testing.TB, addrs []string, name string) {
	t.Helper()
	client, err := ropewalk.Dial(context.Background(), addrs)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Admin().CreateTopic(context.Background(), name, 1,
		ropewalk.Timestamps(ropewalk.TimestampAppend))
	if err := errors.Join(err, client.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestSyncProducerNeedsItsReturns(t *testing.T) {
	addrs := []string{newServer(t).Address()}
	var want sarama.ConfigurationError
	noErrors := testConfig()
	noErrors.Producer.Return.Errors = false
	for _, config := range []*sarama.Config{sarama.NewConfig(), noErrors} {
		if _, err := sarama.NewSyncProducer(addrs, config); !errors.As(err, &want) {
			t.Errorf("got %v", err)
		}
		client, err := sarama.NewClient(addrs, config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sarama.NewSyncProducerFromClient(client); !errors.As(err, &want) {
			t.Errorf("from a client: got %v", err)
		}
		closing(t, client)
	}
	// A nil config has what it needs.
	producer := newProducer(t, addrs, nil)
	if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
		t.Error(err)
	}
}

// Many goroutines share a producer; each learns of its own message.
func TestSyncProducerOfManyGoroutines(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		producer := newProducer(t, addrs, testConfig())
		const senders, each = 50, 10
		var mu sync.Mutex
		places := map[int64]string{}
		var all sync.WaitGroup
		for i := range senders {
			all.Go(func() {
				for j := range each {
					value := fmt.Sprintf("%d/%d", i, j)
					_, offset, err := producer.SendMessage(text("t", value))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					places[offset] = value
					mu.Unlock()
				}
			})
		}
		all.Wait()
		partition := consume(t, newConsumer(t, addrs, testConfig()), "t", 0, sarama.OffsetOldest)
		for offset := range int64(senders * each) {
			receive(t, partition, places[offset])
		}
	})
}

// Producers share a client, which outlives them.
func TestSyncProducersOfOneClient(t *testing.T) {
	client, err := sarama.NewClient([]string{newServer(t).Address()}, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	for want := range int64(3) {
		producer, err := sarama.NewSyncProducerFromClient(client)
		if err != nil {
			t.Fatal(err)
		}
		if _, offset, err := producer.SendMessage(text("t", "x")); err != nil || offset != want {
			t.Errorf("offset %d, %v", offset, err)
		}
		closing(t, producer)
		if _, _, err := producer.SendMessage(text("t", "x")); err != sarama.ErrShuttingDown {
			t.Errorf("closed: %v", err)
		}
		if client.Closed() {
			t.Fatal("the client is closed")
		}
	}
	closing(t, client)
	if _, err := sarama.NewSyncProducerFromClient(client); !errors.Is(err, sarama.ErrClosedClient) {
		t.Errorf("got %v", err)
	}
}

// wrapped is a Client of a program's own.
type wrapped struct{ sarama.Client }

// A producer is made from any Client.
func TestSyncProducerOfAWrappedClient(t *testing.T) {
	client, err := sarama.NewClient([]string{newServer(t).Address()}, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, client)
	producer, err := sarama.NewSyncProducerFromClient(wrapped{client})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, producer)
	if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
		t.Error(err)
	}
}
