package ropewalk_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// The client against several brokers in memory: to whom it goes, and what it does when that broker does
// not lead, cannot be reached, is not what it seems, or breaks off. They hold one topic, t, with one
// partition.

func newCluster(t *testing.T, count int) []*testserver.Server {
	t.Helper()
	servers, err := testserver.NewCluster(count)
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range servers {
		t.Cleanup(server.Stop)
	}
	if _, err := dial(t, servers[0].Address()).Admin().CreateTopic(testContext(t), "t", 1); err != nil {
		t.Fatal(err)
	}
	return servers
}

func lead(t *testing.T, server *testserver.Server, broker uint64) {
	t.Helper()
	if err := server.Lead("t", 0, broker); err != nil {
		t.Fatal(err)
	}
}

// sendNumbers sends the numbers of a range, many at a time, and waits for their answers.
func sendNumbers(t *testing.T, producer *ropewalk.Producer, from, to int) {
	t.Helper()
	for number := from; number < to; number++ {
		record := &ropewalk.Record{Topic: "t", Value: fmt.Append(nil, number)}
		err := producer.SendAsync(testContext(t), record, func(_ *ropewalk.Record, _ ropewalk.Ack, err error) {
			if err != nil {
				t.Errorf("record %d: %v", number, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

// sendUntilTakenBy sends one by one until a broker has taken one, and gives the next number.
func sendUntilTakenBy(
	t *testing.T, server *testserver.Server, producer *ropewalk.Producer, from int, broker uint64,
) int {
	t.Helper()
	for number, began := from, time.Now(); time.Since(began) < 15*time.Second; number++ {
		sendNumbers(t, producer, number, number+1)
		if takers := server.Takers(); takers[len(takers)-1] == broker {
			return number + 1
		}
		time.Sleep(5 * time.Millisecond) // not all at once: each is looked at
	}
	t.Fatalf("broker %d takes nothing", broker)
	return 0
}

// inOrder checks that the partition holds the numbers up to count, each once.
func inOrder(t *testing.T, server *testserver.Server, count int) {
	t.Helper()
	values, err := server.Values("t", 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range values {
		if value != strconv.Itoa(i) {
			t.Fatalf("offset %d holds %s", i, value)
		}
	}
	if len(values) != count {
		t.Fatalf("%d records, not %d", len(values), count)
	}
}

func TestBatchesGoToTheLeaderAndFollowIt(t *testing.T) {
	servers := newCluster(t, 3)
	lead(t, servers[0], 2)
	producer := newProducer(t, dial(t, servers[0].Address()), ropewalk.WithBatchBytes(64))
	sent := sendUntilTakenBy(t, servers[0], producer, 0, 2)
	if first := servers[0].Takers()[0]; first != 1 {
		t.Errorf("the first batch waited for a connection to the leader: broker %d took it", first)
	}
	// The leader moves: the one that led says so, and nothing overtakes.
	lead(t, servers[0], 3)
	sendNumbers(t, producer, sent, sent+200)
	sent = sendUntilTakenBy(t, servers[0], producer, sent+200, 3)
	inOrder(t, servers[0], sent)
	if servers[0].Refused() == 0 {
		t.Error("the broker that led was not asked, and did not say who leads")
	}
}

func TestUnreachableLeaderIsReachedThroughAnother(t *testing.T) {
	servers := newCluster(t, 2)
	lead(t, servers[0], 2)
	servers[0].Advertise(2, "127.0.0.1:1")
	client := dial(t, servers[0].Address())
	producer := newProducer(t, client, ropewalk.WithBatchBytes(64))
	sendNumbers(t, producer, 0, 500)
	inOrder(t, servers[0], 500)
	if takers := servers[0].Takers(); slices.ContainsFunc(takers, func(id uint64) bool { return id != 1 }) {
		t.Errorf("taken by %v", takers)
	}
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"))
	expect(t, consumer, "0", "1", "2")
	// Where it can be reached later, it is.
	servers[0].Advertise(2, servers[1].Address())
	sent := sendUntilTakenBy(t, servers[0], producer, 500, 2)
	inOrder(t, servers[0], sent)
}

// Where the only thing that tells of a broker's new address is the hint in an answer, that is enough.
func TestHintsTellWhereTheLeaderIs(t *testing.T) {
	servers := newCluster(t, 3)
	lead(t, servers[0], 2)
	// The client learns of brokers 1 and 3 only.
	servers[0].Forget(2)
	client := dial(t, servers[0].Address())
	servers[0].Advertise(2, servers[1].Address())
	producer := newProducer(t, client)
	ack, err := producer.Append(testContext(t), "t", 0, []*ropewalk.Record{{Value: []byte("0")}})
	if err != nil || ack.Offset != 0 {
		t.Fatal(ack, err)
	}
	asked, began := servers[0].Asked(), time.Now()
	sent := sendUntilTakenBy(t, servers[0], producer, 1, 2)
	inOrder(t, servers[0], sent)
	// One more of them is broker 2's own: it was asked which cluster it belongs to. After a second the
	// others are asked again, as their answer was a new one.
	if again := servers[0].Asked() - asked; again > 1 && time.Since(began) < time.Second {
		t.Errorf("the brokers were asked for %d times", again)
	}
}

// The address of a leader may mean something else where the client runs. What answers there, of another
// cluster, gets nothing of this one's.
func TestStrangerAtTheLeadersAddressIsNotUsed(t *testing.T) {
	servers := newCluster(t, 2)
	lead(t, servers[0], 2)
	stranger, err := testserver.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stranger.Stop)
	stranger.ClusterID = "another-cluster"
	servers[0].Advertise(2, stranger.Address())
	client := dial(t, servers[0].Address())
	producer := newProducer(t, client, ropewalk.WithBatchBytes(64))
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"), ropewalk.WithHeartbeat(100*time.Millisecond))
	for sent := 0; stranger.Asked() < 2; sent += 10 { // it was asked, and asked again when it had been left alone
		sendNumbers(t, producer, sent, sent+10)
		for number := sent; number < sent+10; number++ {
			expect(t, consumer, strconv.Itoa(number))
		}
		inOrder(t, servers[0], sent+10)
		time.Sleep(10 * time.Millisecond)
	}
	if len(stranger.Takers())+len(stranger.Readers()) > 0 {
		t.Error("it was written to, or read from")
	}
	// Nor does it take the place of the broker that was dialed, while that is gone.
	servers[0].Stop()
	if _, err := client.Admin().CreateTopic(shortly(t), "lost", 1); err == nil {
		t.Error("a topic was created, though no broker of the cluster can be reached")
	}
	if err := servers[0].Start(); err != nil {
		t.Fatal(err)
	}
	sendNumbers(t, newProducer(t, client), 0, 10)
	if topics, err := dial(t, stranger.Address()).Admin().ListTopics(testContext(t), ""); err != nil || len(topics) > 0 {
		t.Errorf("the stranger has %v (%v)", topics, err)
	}
}

func TestWhatALeaderHadNotTakenGoesOnElsewhere(t *testing.T) {
	servers := newCluster(t, 3)
	lead(t, servers[0], 2)
	producer := newProducer(t, dial(t, servers[0].Address()), ropewalk.WithBatchBytes(64))
	sent := sendUntilTakenBy(t, servers[0], producer, 0, 2)
	// It takes one more batch, then ends its stream without having taken the next, and another one leads.
	var batches atomic.Int32
	servers[0].OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		if batches.Add(1) != 2 {
			return nil
		}
		return &testserver.Fault{Status: testserver.Status(codes.Unavailable, "BROKER_DRAINING"), End: true}
	})
	sendNumbers(t, producer, sent, sent+20)
	lead(t, servers[0], 3)
	sendNumbers(t, producer, sent+20, sent+300)
	inOrder(t, servers[0], sent+300)
	if batches.Load() < 3 {
		t.Error("the stream did not end: this tested nothing")
	}
}

// A consumer starts at whichever broker answers, goes over to the leader, follows it, and goes on
// elsewhere when that one is gone; each record comes once.
func TestConsumerGoesToTheLeaderAndFollowsIt(t *testing.T) {
	servers := newCluster(t, 3)
	lead(t, servers[0], 2)
	client := dial(t, servers[0].Address())
	// Nothing is on its way when a broker is stopped, so that nothing is there twice.
	producer := newProducer(t, dial(t, servers[0].Address()), ropewalk.WithRetryMaybe())
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"), ropewalk.WithHeartbeat(100*time.Millisecond))
	next := 0
	readUntilAt := func(broker uint64) {
		t.Helper()
		for began := time.Now(); time.Since(began) < 15*time.Second; time.Sleep(5 * time.Millisecond) {
			sendNumbers(t, producer, next, next+1)
			expect(t, consumer, strconv.Itoa(next))
			next++
			if readers := servers[0].Readers(); readers[len(readers)-1] == broker {
				return
			}
		}
		t.Fatalf("read at %v, never at broker %d", servers[0].Readers(), broker)
	}
	readUntilAt(2)
	if readers := servers[0].Readers(); !slices.Equal(readers, []uint64{1, 2}) {
		t.Errorf("read at %v", readers)
	}
	// Who is asked for the leader has not heard of the new one at once.
	servers[0].FallBehind(2)
	lead(t, servers[0], 3)
	readUntilAt(3)
	servers[2].Stop()
	readUntilAt(1)
	// Partitions that are added join a stream that was opened anew, too.
	if _, err := client.Admin().AddPartitions(testContext(t), "t", 2); err != nil {
		t.Fatal(err)
	}
	record := &ropewalk.Record{Topic: "t", Partition: 1, Value: []byte("joined")}
	manual := newProducer(t, dial(t, servers[0].Address()), ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
	if _, err := manual.Send(testContext(t), record); err != nil {
		t.Fatal(err)
	}
	expect(t, consumer, "joined")
}

// A leader that takes connections and says nothing, as one that is paused, does not hold up a reader.
func TestLeaderThatHangsIsReadThroughAnother(t *testing.T) {
	servers := newCluster(t, 2)
	lead(t, servers[0], 2)
	client := dial(t, servers[0].Address())
	sent := sendUntilTakenBy(t, servers[0], newProducer(t, client), 0, 2) // there is a connection
	hung := make(chan struct{})
	defer close(hung)
	servers[0].OnSubscribe(func(*pb.SubscribeRequest) error {
		if readers := servers[0].Readers(); readers[len(readers)-1] == 2 {
			<-hung
		}
		return nil
	})
	began := time.Now()
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"))
	for number := range sent {
		expect(t, consumer, strconv.Itoa(number))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if readers := servers[0].Readers(); !slices.Equal(readers, []uint64{2, 1}) {
		t.Errorf("read at %v", readers)
	}
}

// A read that has an end keeps it when it goes over to the leader.
func TestReadToAnEndGoesToTheLeaderToo(t *testing.T) {
	servers := newCluster(t, 2)
	client := dial(t, servers[0].Address())
	sendNumbers(t, newProducer(t, client), 0, 300)
	lead(t, servers[0], 2)
	consumer := newConsumer(t, dial(t, servers[0].Address()), ropewalk.WithTopics("t"),
		ropewalk.WithStop(ropewalk.StopCaughtUp()), ropewalk.WithFetchBytes(1), ropewalk.WithReadAhead(1))
	for number := range 300 {
		expect(t, consumer, strconv.Itoa(number))
		time.Sleep(5 * time.Millisecond) // longer than it takes until the leader is looked for
		if number == 0 {
			sendNumbers(t, newProducer(t, client), 300, 310) // behind its end
		}
	}
	if _, err := consumer.Next(testContext(t)); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if readers := servers[0].Readers(); readers[len(readers)-1] != 2 {
		t.Errorf("read at %v", readers)
	}
}

// A cluster that was just formed may not know yet which brokers it has, or where they are: it is asked
// again.
func TestOtherBrokersAreFoundWhenTheOnlyAddressIsGone(t *testing.T) {
	for name, forget := range map[string]func(*testserver.Server){
		"an address is missing": func(s *testserver.Server) { s.Advertise(2, "") },
		"a broker is missing":   func(s *testserver.Server) { s.Forget(2) },
		"nothing is known":      func(s *testserver.Server) { s.Forget(1); s.Forget(2) },
	} {
		t.Run(name, func(t *testing.T) { findOtherBrokers(t, forget) })
	}
}

func findOtherBrokers(t *testing.T, forget func(*testserver.Server)) {
	servers := newCluster(t, 2)
	forget(servers[0])
	client := dial(t, servers[0].Address())
	for id, server := range servers {
		servers[0].Advertise(uint64(id+1), server.Address())
	}
	asked := servers[0].Asked()
	eventually(t, "the brokers are asked for again", func() bool { return servers[0].Asked() > asked })
	if _, err := client.Admin().GetCluster(testContext(t)); err != nil { // it has learned by then
		t.Fatal(err)
	}
	servers[0].Stop()
	began := time.Now()
	cluster, err := client.Admin().GetCluster(testContext(t))
	if err != nil || len(cluster.Brokers) != 2 {
		t.Fatal(cluster, err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := ropewalk.Dial(testContext(t), []string{servers[0].Address()}); err == nil {
		t.Error("a new client reached a broker that is gone")
	}
}
