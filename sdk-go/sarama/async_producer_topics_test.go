package sarama_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// holdCreation has the creation of a topic wait until the channel is closed.
func holdCreation(server *testserver.Server, topic string) chan struct{} {
	hold := make(chan struct{})
	server.OnSubscribe(func(r *pb.SubscribeRequest) error {
		if r.GetTopics()[0].GetName() == topic {
			<-hold
		}
		return nil
	})
	return hold
}

// A topic that is looked up holds up no other, and its own messages keep their order.
func TestUnknownTopicHoldsUpNoOther(t *testing.T) {
	server := newServer(t)
	hold := holdCreation(server, "slow")
	producer := newAsyncProducer(t, []string{server.Address()}, testConfig())
	const count = 100
	for i := range count {
		send(t, producer, text("slow", fmt.Sprint(i)))
		send(t, producer, text("t", fmt.Sprint(i)))
	}
	all := collect(t, producer, count)
	for _, m := range all.successes {
		if m.Topic != "t" {
			t.Errorf("a message of %s is there", m.Topic)
		}
	}
	close(hold)
	// Some come while others wait.
	for i := range count {
		send(t, producer, text("slow", fmt.Sprint(count+i)))
	}
	if all := collect(t, producer, 2*count); len(all.errors) > 0 {
		t.Fatal(all.errors[0])
	}
	values, err := server.Values("slow", 0)
	if err != nil || len(values) != 2*count {
		t.Fatalf("%d values: %v", len(values), err)
	}
	for i, value := range values {
		if value != fmt.Sprint(i) {
			t.Fatalf("value %d is %s", i, value)
		}
	}
}

// What waits for a topic is answered before the producer ends, and with one error where the topic
// cannot be had.
func TestCloseWaitsForUnknownTopics(t *testing.T) {
	for _, refusal := range []error{nil, testserver.Status(codes.PermissionDenied, "").Err()} {
		server := newServer(t)
		hold := make(chan struct{})
		server.OnSubscribe(func(*pb.SubscribeRequest) error {
			<-hold
			return refusal
		})
		producer := newAsyncProducer(t, []string{server.Address()}, testConfig())
		const count = 400 // more than may wait without holding up others
		for i := range count {
			send(t, producer, text("slow", fmt.Sprint(i)))
		}
		producer.AsyncClose()
		close(hold)
		all := drain(t, producer)
		if refusal == nil && len(all.successes) != count ||
			refusal != nil && len(all.errors) != count {
			t.Errorf("%v: %d successes, %d errors", refusal, len(all.successes), len(all.errors))
		}
		for _, err := range all.errors {
			if err.Err != sarama.ErrClusterAuthorizationFailed {
				t.Errorf("got %v", err)
			}
		}
	}
}

// Close has what waits for topics answered, each message once and with the error of its topic.
func TestCloseAnswersWhatWaitsForTopics(t *testing.T) {
	const count = 100
	server := newServer(t)
	begun, hold := make(chan string, 2), make(chan struct{})
	server.OnSubscribe(func(r *pb.SubscribeRequest) error {
		name := r.GetTopics()[0].GetName()
		begun <- name
		<-hold
		if name == "bad" {
			return testserver.Status(codes.PermissionDenied, "").Err()
		}
		return nil
	})
	producer := newAsyncProducer(t, []string{server.Address()}, testConfig())
	for i := range count {
		send(t, producer, text("good", fmt.Sprint(i)))
		send(t, producer, text("bad", fmt.Sprint(i)))
	}
	<-begun
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- producer.Close() }()
	close(hold)
	var failures sarama.ProducerErrors
	if err := soon(t, "the end", ended); !errors.As(err, &failures) || len(failures) != count {
		t.Fatalf("got %d errors: %v", len(failures), err)
	}
	back := map[*sarama.ProducerMessage]bool{}
	for _, failure := range failures {
		if back[failure.Msg] || failure.Msg.Topic != "bad" ||
			failure.Err != sarama.ErrClusterAuthorizationFailed {
			t.Errorf("got %v", failure)
		}
		back[failure.Msg] = true
	}
	values, err := server.Values("good", 0)
	if err != nil || len(values) != count {
		t.Fatalf("%d values: %v", len(values), err)
	}
	for i, value := range values {
		if value != fmt.Sprint(i) {
			t.Fatalf("value %d is %s", i, value)
		}
	}
}

// What waits for topics is bounded in bytes too: those of messages whose topic is being looked up
// count as well.
func TestBytesOfUnknownTopicsAreBounded(t *testing.T) {
	const topics, most = 40, 16 + 1 // one is in the producer's hand
	server, hold := newServer(t), make(chan struct{})
	var inside atomic.Int64
	server.OnSubscribe(func(*pb.SubscribeRequest) error {
		defer inside.Add(-1)
		if n := inside.Add(1); n > most {
			t.Errorf("%d MiB are waiting", n)
		}
		<-hold
		return nil
	})
	config := testConfig()
	config.Producer.MaxMessageBytes = 2 << 20
	producer := newAsyncProducer(t, []string{server.Address()}, config)
	value := sarama.ByteEncoder(make([]byte, 1000<<10))
	for i := range topics {
		send(t, producer, &sarama.ProducerMessage{Topic: fmt.Sprintf("t-%d", i), Value: value})
	}
	await(t, "as many as there is room for", func() bool { return inside.Load() == most })
	close(hold)
	if all := collect(t, producer, topics); len(all.successes) != topics {
		t.Errorf("got %v", all.errors[0])
	}
}

// A message for a partition that was added meanwhile goes there; for one that is not there it
// fails, and neither holds up others.
func TestAddedPartitionHoldsUpNoOther(t *testing.T) {
	addrs, client := topicOf(t, 1)
	config := testConfig()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	producer := newAsyncProducer(t, addrs, config)
	send(t, producer, text("t", "0"))
	collect(t, producer, 1)
	if _, err := client.Admin().AddPartitions(t.Context(), "t", 2); err != nil {
		t.Fatal(err)
	}
	await(t, "a message on the new partition", func() bool {
		send(t, producer, &sarama.ProducerMessage{Topic: "t", Partition: 1})
		all := collect(t, producer, 1)
		return len(all.successes) == 1 && all.successes[0].Partition == 1
	})
	send(t, producer, &sarama.ProducerMessage{Topic: "t", Partition: 2})
	if all := collect(t, producer, 1); len(all.errors) != 1 ||
		all.errors[0].Err != sarama.ErrInvalidPartition {
		t.Errorf("got %+v", all)
	}
}

// panicking panics where a test says so.
type panicking struct {
	sarama.Partitioner
	where string
}

func (p panicking) Partition(m *sarama.ProducerMessage, n int32) (int32, error) {
	if p.where == "partitioner" && m.Metadata == "bad" {
		panic("partitioner")
	}
	return p.Partitioner.Partition(m, n)
}

var errPanicked = errors.New("encoder")

func (p panicking) Encode() ([]byte, error) { panic(errPanicked) }

func (p panicking) Length() int {
	if p.where == "length" {
		panic("length")
	}
	return 1
}

// catchPanics has panics handled until the test ends.
func catchPanics(t testing.TB) chan any {
	before, caught := sarama.PanicHandler, make(chan any, 16)
	sarama.PanicHandler = func(value any) { caught <- value }
	t.Cleanup(func() { sarama.PanicHandler = before })
	return caught
}

// A partitioner or an encoder that panics fails one message, which comes back; the others go on.
// The PanicHandler hears of it.
func TestPanicFailsOneMessage(t *testing.T) {
	for _, where := range []string{"constructor", "partitioner", "encoder", "length"} {
		t.Run(where, func(t *testing.T) {
			caught := catchPanics(t)
			config := testConfig()
			made := 0
			config.Producer.Partitioner = func(topic string) sarama.Partitioner {
				if made++; where == "constructor" && made == 1 {
					panic(where)
				}
				return panicking{sarama.NewHashPartitioner(topic), where}
			}
			bad := &sarama.ProducerMessage{Topic: "t", Metadata: "bad"}
			if where == "encoder" || where == "length" {
				bad.Value = panicking{where: where}
			}
			server := newServer(t)
			producer := newAsyncProducer(t, []string{server.Address()}, config)
			send(t, producer, bad) // while the topic is looked up
			if all := collect(t, producer, 1); len(all.errors) != 1 || all.errors[0].Msg != bad {
				t.Fatalf("got %+v", all)
			}
			again := 1
			if where != "constructor" {
				again++
				send(t, producer, bad)
			}
			for range 10 {
				send(t, producer, text("t", "good"))
			}
			all := collect(t, producer, 9+again)
			if len(all.successes) != 10 || len(all.errors) != again-1 {
				t.Errorf("%d successes, %d errors", len(all.successes), len(all.errors))
			}
			for _, err := range all.errors {
				if where == "encoder" && !errors.Is(err, errPanicked) {
					t.Errorf("got %v", err)
				}
			}
			if len(caught) != again {
				t.Errorf("%d panics were handled", len(caught))
			}
		})
	}
}

// A SyncProducer returns the error of a panic where there is a handler; otherwise it panics itself.
func TestPanicInASyncProducer(t *testing.T) {
	server := newServer(t)
	bad := &sarama.ProducerMessage{Topic: "t", Value: panicking{}}
	before := newProducer(t, []string{server.Address()}, testConfig())
	func() {
		defer func() {
			if caught := recover(); caught != errPanicked {
				t.Errorf("caught %v", caught)
			}
		}()
		_, _, err := before.SendMessage(bad)
		t.Errorf("got %v", err)
	}()
	catchPanics(t)
	producer := newProducer(t, []string{server.Address()}, testConfig())
	if _, _, err := producer.SendMessage(bad); !errors.Is(err, errPanicked) {
		t.Errorf("got %v", err)
	}
	var failures sarama.ProducerErrors
	err := producer.SendMessages([]*sarama.ProducerMessage{text("t", "a"), bad, text("t", "b")})
	if !errors.As(err, &failures) || len(failures) != 1 || failures[0].Msg != bad {
		t.Errorf("got %v", err)
	}
	values, err := server.Values("t", 0)
	if err != nil || !slices.Equal(values, []string{"a", "b"}) {
		t.Errorf("got %v, %v", values, err)
	}
}

// Whatever is sent while a producer ends comes back, or is in the log.
func TestSendWhileItEnds(t *testing.T) {
	log := logTo(t)
	server := newServer(t)
	const rounds, senders, most = 10, 8, 500
	sent, back := 0, 0
	for range rounds {
		producer := newAsyncProducer(t, []string{server.Address()}, testConfig())
		sending, stop := make(chan int, senders), make(chan struct{})
		for range senders {
			go func() {
				n := 0
				for ended := false; n < most && !ended; n++ {
					producer.Input() <- text("t", "x")
					select {
					case <-stop:
						ended = true
					default:
					}
				}
				sending <- n
			}()
		}
		producer.AsyncClose()
		all := drain(t, producer)
		close(stop)
		back += len(all.successes) + len(all.errors)
		for range senders {
			select {
			case n := <-sending:
				sent += n
			case <-time.After(patience):
				t.Fatal("a sender waits for ever")
			}
		}
		closing(t, producer)
	}
	dropped := func(line string) bool { return len(line) > 8 && line[:8] == "dropped:" }
	await(t, "an answer or a line for each message", func() bool {
		return back+log.count(dropped) >= sent
	})
	if lines := log.count(dropped); back+lines != sent {
		t.Errorf("%d messages, %d came back, %d are in the log", sent, back, lines)
	}
}
