package sarama_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// What a Client knows, it tells at once, also while no broker answers and what it knows is old. It
// asks meanwhile, so that it knows more once one is back.
func TestClientTellsAtOnceWhatItKnows(t *testing.T) {
	server := newServer(t)
	config := testConfig()
	config.Net.ReadTimeout = time.Minute
	client := newClient(t, []string{server.Address()}, config)
	ask := func() {
		t.Helper()
		if partitions, err := client.Partitions("t"); err != nil || len(partitions) != 1 {
			t.Errorf("partitions %v, %v", partitions, err)
		}
		if _, err := client.Leader("t", 0); err != nil {
			t.Errorf("leader: %v", err)
		}
		if topics, err := client.Topics(); err != nil || !slices.Equal(topics, []string{"t"}) {
			t.Errorf("topics %v, %v", topics, err)
		}
		if brokers := client.Brokers(); len(brokers) != 1 {
			t.Errorf("brokers %v", brokers)
		}
	}
	if _, err := client.Partitions("t"); err != nil {
		t.Fatal(err)
	}
	ask()
	server.Stop()
	time.Sleep(1100 * time.Millisecond) // what it knows is new for a second
	began := time.Now()
	for range 3 {
		ask()
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	grow(t, server, "t", 3)
	eventually(t, "told of the new partitions", func() bool {
		partitions, err := client.Partitions("t")
		return err == nil && len(partitions) == 3
	})
}

// grow gives a topic more partitions, by another client.
func grow(t *testing.T, server *testserver.Server, topic string, partitions int32) {
	t.Helper()
	other, err := ropewalk.Dial(t.Context(), []string{server.Address()})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, other)
	if _, err := other.Admin().AddPartitions(t.Context(), topic, partitions); err != nil {
		t.Fatal(err)
	}
}

// Questions under way end with the client.
func TestClientClosesWhileItAsks(t *testing.T) {
	server := newServer(t)
	config := testConfig()
	config.Net.ReadTimeout = time.Hour
	client := newClient(t, []string{server.Address()}, config)
	if _, err := client.Partitions("t"); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	var asking sync.WaitGroup
	for range 3 {
		asking.Go(func() {
			if _, err := client.Partitions("new"); err != sarama.ErrClosedClient {
				t.Errorf("got %v", err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond) // the test holds as well for who asks too late
	closing(t, client)
	asking.Wait()
}

// RefreshMetadata asks for all that a Client knows, not for the names alone.
func TestRefreshMetadataOfAllTopics(t *testing.T) {
	server := newServer(t)
	client := newClient(t, []string{server.Address()}, testConfig())
	if _, err := client.Partitions("t"); err != nil {
		t.Fatal(err)
	}
	grow(t, server, "t", 2)
	if err := client.RefreshMetadata(); err != nil {
		t.Fatal(err)
	}
	if partitions, err := client.Partitions("t"); err != nil || len(partitions) != 2 {
		t.Errorf("partitions %v, %v", partitions, err)
	}
}

// Partitions that were added elsewhere can be sent to: at once after RefreshMetadata, and else when
// a message asks for one that is not known.
func TestProducerFindsAddedPartitions(t *testing.T) {
	server := newServer(t)
	config := testConfig()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	client := newClient(t, []string{server.Address()}, config)
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, producer)
	sendTo := func(partition int32) error {
		m := text("t", "x")
		m.Partition = partition
		_, _, err := producer.SendMessage(m)
		return err
	}
	if err := sendTo(0); err != nil {
		t.Fatal(err)
	}
	grow(t, server, "t", 2)
	for name, topics := range map[string][]string{"named": {"t"}, "all": nil} {
		if err := client.RefreshMetadata(topics...); err != nil {
			t.Fatal(name, err)
		}
	}
	if err := sendTo(1); err != nil {
		t.Errorf("after a refresh: %v", err)
	}
	if err := sendTo(2); err != sarama.ErrInvalidPartition {
		t.Errorf("to one that there is not: %v", err)
	}
	grow(t, server, "t", 3)
	eventually(t, "sent to what was added", func() bool { return sendTo(2) == nil })
}
