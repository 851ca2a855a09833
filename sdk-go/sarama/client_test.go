package sarama_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func newClient(t testing.TB, addrs []string, config *sarama.Config) sarama.Client {
	t.Helper()
	client, err := sarama.NewClient(addrs, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil && !errors.Is(err, sarama.ErrClosedClient) {
			t.Errorf("close: %v", err)
		}
	})
	return client
}

// A program that knows nothing of a topic finds out with a Client.
func TestClientTellsOfTopics(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		client := newClient(t, addrs, testConfig())
		partitions, err := client.Partitions("t")
		if err != nil || !slices.Equal(partitions, []int32{0}) {
			t.Errorf("partitions %v, %v", partitions, err)
		}
		if topics, err := client.Topics(); err != nil || !slices.Contains(topics, "t") {
			t.Errorf("topics %v, %v", topics, err)
		}
		leader, epoch, err := client.LeaderAndEpoch("t", 0)
		if err != nil || leader.ID() < 1 || leader.Addr() == "" || epoch < 0 {
			t.Errorf("led by %v at %d, %v", leader, epoch, err)
		}
		replicas, err := client.Replicas("t", 0)
		if err != nil || !slices.Equal(replicas, []int32{leader.ID()}) {
			t.Errorf("replicas %v, %v", replicas, err)
		}
		if client.PartitionNotReadable("t", 0) || !client.PartitionNotReadable("t", 4) {
			t.Error("partition 0 can be read, 4 cannot")
		}
		for at, want := range map[int64]int64{
			sarama.OffsetNewest: 0, sarama.OffsetOldest: 0, time.Now().UnixMilli(): -1,
		} {
			if offset, err := client.GetOffset("t", 0, at); err != nil || offset != want {
				t.Errorf("the offset at %d is %d, want %d (%v)", at, offset, want, err)
			}
		}
		if _, err := client.GetOffset("t", 0, -3); err != sarama.ErrUnsupportedVersion {
			t.Errorf("the offset of the latest time: %v", err)
		}
		if _, err := client.Leader("t", 4); err != sarama.ErrUnknownTopicOrPartition {
			t.Errorf("leader of no partition: %v", err)
		}
		if err := client.RefreshMetadata(""); err != sarama.ErrInvalidTopic {
			t.Errorf("a topic without a name: %v", err)
		}
		if _, err := client.InitProducerID(); err != sarama.ErrUnsupportedVersion {
			t.Errorf("a producer's id: %v", err)
		}
	})
}

// With AllowAutoTopicCreation off, asking for a topic does not make it.
func TestClientCreatesNoTopicUnasked(t *testing.T) {
	config := testConfig()
	config.Metadata.AllowAutoTopicCreation = false
	config.Metadata.Full = false
	client := newClient(t, []string{ropewalktest.Start(t).Address}, config)
	if _, err := client.Partitions("t"); err != sarama.ErrUnknownTopicOrPartition {
		t.Errorf("partitions of no topic: %v", err)
	}
	if err := client.RefreshMetadata("t"); err != sarama.ErrUnknownTopicOrPartition {
		t.Errorf("refreshed: %v", err)
	}
	if topics, err := client.Topics(); err != nil || len(topics) != 0 {
		t.Errorf("topics %v, %v", topics, err)
	}
	_, err := sarama.NewClient(nil, config)
	var configuration sarama.ConfigurationError
	if !errors.As(err, &configuration) {
		t.Errorf("without an address: %v", err)
	}
}

// While no broker answers, a Client tells what it knew; once one is back, what is.
func TestClientOutlivesItsBroker(t *testing.T) {
	broker := ropewalktest.Start(t)
	config := testConfig()
	config.Metadata.Timeout = 2 * time.Second
	client := newClient(t, []string{broker.Address}, config)
	leader, err := client.Leader("t", 0)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := leader.Connected(); !ok || err != nil {
		t.Errorf("connected %v, %v", ok, err)
	}
	broker.Stop()
	time.Sleep(1100 * time.Millisecond) // what it knows is fresh for a second
	if again, err := client.Leader("t", 0); err != nil || again != leader {
		t.Errorf("without a broker: %v, %v", again, err)
	}
	if err := client.RefreshMetadata("t"); err == nil {
		t.Error("refreshed without a broker")
	}
	broker.Run()
	eventually(t, "refreshed", func() bool { return client.RefreshMetadata("t") == nil })
	if ok, err := leader.Connected(); !ok || err != nil {
		t.Errorf("connected again %v, %v", ok, err)
	}
}

// eventually waits for a condition, for up to half a minute.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never %s", what)
		}
	}
}

func TestBrokersConnectByThemselves(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		broker := sarama.NewBroker(addrs[0])
		if ok, err := broker.Connected(); ok || err != nil || broker.ID() != -1 {
			t.Errorf("before: %v, %v, id %d", ok, err, broker.ID())
		}
		if err := broker.Close(); err != sarama.ErrNotConnected {
			t.Errorf("closed before it was open: %v", err)
		}
		if err := broker.Open(testConfig()); err != nil {
			t.Fatal(err)
		}
		if err := broker.Open(nil); err != sarama.ErrAlreadyConnected {
			t.Errorf("opened twice: %v", err)
		}
		if ok, err := broker.Connected(); !ok || err != nil {
			t.Errorf("open: %v, %v", ok, err)
		}
		closing(t, broker)

		gone := sarama.NewBroker("127.0.0.1:1")
		if err := gone.Open(testConfig()); err != nil {
			t.Fatal(err)
		}
		if ok, err := gone.Connected(); ok || !errors.Is(err, sarama.ErrOutOfBrokers) {
			t.Errorf("nobody there: %v, %v", ok, err)
		}
	})
}

// A client that is closed says so, whatever it is asked for.
func TestClosedClient(t *testing.T) {
	client := newClient(t, []string{newServer(t).Address()}, testConfig())
	if client.Closed() {
		t.Error("closed from the start")
	}
	closing(t, client)
	if !client.Closed() || client.Close() != sarama.ErrClosedClient {
		t.Error("it does not know that it is closed")
	}
	_, topics := client.Topics()
	_, controller := client.Controller()
	_, partitions := client.Partitions("t")
	_, offset := client.GetOffset("t", 0, sarama.OffsetNewest)
	_, coordinator := client.Coordinator("g")
	_, admin := sarama.NewClusterAdminFromClient(client)
	for i, err := range []error{
		topics, controller, partitions, offset, coordinator, admin,
		client.RefreshMetadata(), client.RefreshCoordinator("g"),
	} {
		if err != sarama.ErrClosedClient {
			t.Errorf("%d: %v", i, err)
		}
	}
	if client.Brokers() != nil || client.LeastLoadedBroker() != nil {
		t.Error("it has brokers still")
	}
}
