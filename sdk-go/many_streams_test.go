package ropewalk_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/brokertest"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// More streams than a broker takes on one connection. These take ten calls at a time.

const (
	fewCalls     = 10
	manyStreams  = 3 * fewCalls
	fewCallsFlag = "--max-streams-per-connection=10"
)

// limit has a server take few calls at a time on a connection.
func limit(t *testing.T, server *testserver.Server) {
	t.Helper()
	server.Stop()
	server.MaxStreams = fewCalls
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
}

func newLimited(t *testing.T) *testserver.Server {
	t.Helper()
	server := newServer(t)
	limit(t, server)
	return server
}

// readEach reads each partition of a new topic with a consumer of its own.
func readEach(t *testing.T, client *ropewalk.Client, topic string) []*ropewalk.Consumer {
	t.Helper()
	var consumers []*ropewalk.Consumer
	if _, err := client.Admin().CreateTopic(testContext(t), topic, manyStreams); err != nil {
		t.Fatal(err)
	}
	for partition := range int32(manyStreams) {
		consumers = append(consumers, newConsumer(t, client,
			ropewalk.WithPartition(topic, partition, ropewalk.StartEarliest())))
	}
	return consumers
}

// fillEach sends a record to each partition.
func fillEach(t *testing.T, client *ropewalk.Client, topic, value string) {
	t.Helper()
	producer := newProducer(t, client, ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
	for partition := range int32(manyStreams) {
		record := &ropewalk.Record{Topic: topic, Partition: partition, Value: []byte(value)}
		if _, err := producer.Send(testContext(t), record); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
}

func expectEach(t *testing.T, consumers []*ropewalk.Consumer, value string) {
	t.Helper()
	for _, consumer := range consumers {
		expect(t, consumer, value)
	}
}

// However many streams are open, calls are answered, and more streams are opened.
func TestCallsDoNotWaitBehindStreams(t *testing.T) {
	for name, dials := range map[string]func(t *testing.T) *ropewalk.Client{
		"memory": func(t *testing.T) *ropewalk.Client { return dial(t, newLimited(t).Address()) },
		"TLS": func(t *testing.T) *ropewalk.Client {
			authority := brokertest.NewAuthority(t)
			target := newLimited(t).Address()
			proxy := brokertest.NewTLSForward(t, target, authority.Server("127.0.0.1"))
			return dial(t, proxy.Address, ropewalk.WithTLS(&tls.Config{RootCAs: authority.Pool}))
		},
		"broker": func(t *testing.T) *ropewalk.Client {
			return dial(t, ropewalktest.Start(t, ropewalktest.WithFlags(fewCallsFlag)).Address)
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := dials(t)
			consumers := readEach(t, client, "many")
			if _, err := client.Admin().GetCluster(testContext(t)); err != nil {
				t.Error("metadata:", err)
			}
			if err := consumers[0].Commit(testContext(t), "g"); err != nil {
				t.Error("commit:", err)
			}
			fillEach(t, client, "many", "a")
			expectEach(t, consumers, "a")
		})
	}
}

// Few streams cost no connection beside that of the calls; and a dialer makes those that more of
// them need.
func TestFurtherConnectionsAreMadeWhenNeeded(t *testing.T) {
	server := newLimited(t)
	var dialed atomic.Int32
	client := dial(t, "one.invalid:1", ropewalk.WithDialer(
		func(ctx context.Context, _ string) (net.Conn, error) {
			dialed.Add(1)
			return (&net.Dialer{}).DialContext(ctx, "tcp", server.Address())
		}))
	const few = fewCalls / 2
	for range few {
		newConsumer(t, client, ropewalk.WithTopics("t"))
	}
	if got := dialed.Load(); got != 1 {
		t.Errorf("%d connections for %d streams", got, few)
	}
	for range 2*few - 1 {
		newConsumer(t, client, ropewalk.WithTopics("t"))
	}
	if got := dialed.Load(); got < 3 || got > 4 { // one more stream may have created the topic
		t.Errorf("%d connections for %d streams", got, 3*few)
	}
}

// A leader that few streams can share has them all, over several connections; when it is gone, they
// go on elsewhere, and come back.
func TestManyStreamsToALeader(t *testing.T) {
	servers := newCluster(t, 2)
	limit(t, servers[1])
	lead(t, servers[0], 2)
	client := dial(t, servers[0].Address())
	var consumers []*ropewalk.Consumer
	for range manyStreams {
		consumers = append(consumers, newConsumer(t, client, ropewalk.WithTopics("t"),
			ropewalk.WithHeartbeat(100*time.Millisecond)))
	}
	areThere := func() bool { return servers[1].Connections() >= manyStreams/(fewCalls/2) }
	eventually(t, "they are at the leader", areThere)
	produce(t, client, "t", "a")
	expectEach(t, consumers, "a")
	servers[1].Stop()
	lead(t, servers[0], 1)
	produce(t, client, "t", "b")
	expectEach(t, consumers, "b")
	if err := servers[1].Start(); err != nil {
		t.Fatal(err)
	}
	lead(t, servers[0], 2)
	produce(t, client, "t", "c") // which tells them who leads
	expectEach(t, consumers, "c")
	eventually(t, "they are back", areThere)
}

// Streams on all connections go on when the broker is back.
func TestManyStreamsOutliveARestart(t *testing.T) {
	broker := ropewalktest.Start(t, ropewalktest.WithFlags(fewCallsFlag))
	client := dial(t, broker.Address)
	consumers := readEach(t, client, "many")
	fillEach(t, client, "many", "a")
	expectEach(t, consumers, "a")
	for i, end := range []func(){broker.Stop, broker.Kill} {
		end()
		broker.Run()
		value := strconv.Itoa(i)
		fillEach(t, client, "many", value)
		expectEach(t, consumers, value)
	}
}

// A broker that takes fewer calls than before it was restarted gets no more streams on a connection
// than it takes: also of those that were opened while there was none, and wait for it.
func TestARestartWithFewerCalls(t *testing.T) {
	server := newServer(t)
	var gate atomic.Value // of what connections wait for
	way := make(chan struct{})
	gate.Store(way)
	close(way)
	client := dial(t, server.Address(), ropewalk.WithDialer(
		func(ctx context.Context, address string) (net.Conn, error) {
			select {
			case <-gate.Load().(chan struct{}):
				return (&net.Dialer{}).DialContext(ctx, "tcp", address)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}))
	producers := make([]*ropewalk.Producer, manyStreams)
	for i := range producers {
		producers[i] = newProducer(t, client)
	}
	send := func() *sync.WaitGroup {
		var all sync.WaitGroup
		for _, producer := range producers {
			all.Go(func() {
				if _, err := sendValue(t, producer, "v"); err != nil {
					t.Error(err)
				}
			})
		}
		return &all
	}
	send().Wait()
	way = make(chan struct{})
	gate.Store(way)
	limit(t, server)
	eventually(t, "all streams are broken", func() bool { return client.StreamsBesideCalls() == 0 })
	sending := send()
	eventually(t, "all of them wait for a connection", func() bool {
		return client.StreamsBesideCalls() == manyStreams
	})
	close(way)
	sending.Wait()
	if _, err := client.Admin().GetCluster(testContext(t)); err != nil {
		t.Error("metadata:", err)
	}
	eventually(t, "the connection of the calls has few streams", func() bool {
		return client.StreamsBesideCalls() <= fewCalls/2
	})
}

// Members of groups and producers are counted too.
func TestManyMembersAndProducers(t *testing.T) {
	client := dial(t, ropewalktest.Start(t, ropewalktest.WithFlags(fewCallsFlag)).Address)
	produce(t, client, "t", "a")
	for range fewCalls {
		name := newName("group")
		member, err := client.JoinGroup(testContext(t), name, ropewalk.GroupTopics("t"))
		if err != nil {
			t.Fatal(err)
		}
		record, err := member.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := member.CommitOffset(testContext(t), record.ToCommit()); err != nil {
			t.Error(err)
		}
		producer := newProducer(t, client) // which has its stream until it is closed
		if _, err := producer.Send(testContext(t), &ropewalk.Record{Topic: "u"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Admin().GetCluster(testContext(t)); err != nil {
		t.Error(err)
	}
}

// A client is closed while a stream waits for a connection that is not made.
func TestCloseWhileAConnectionIsMade(t *testing.T) {
	server := newLimited(t)
	var dialed atomic.Int32
	begun := make(chan struct{})
	var begins sync.Once
	client := dial(t, server.Address(), ropewalk.WithDialer(
		func(ctx context.Context, address string) (net.Conn, error) {
			if dialed.Add(1) > 1 {
				begins.Do(func() { close(begun) })
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}))
	opens := make(chan error, 1)
	go func() {
		for {
			_, err := client.NewConsumer(context.Background(), ropewalk.WithTopics("t"))
			if err != nil {
				opens <- err
				return
			}
		}
	}()
	<-begun
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := <-opens; !errors.Is(err, ropewalk.ReasonClosed) {
		t.Errorf("got %v", err)
	}
}
