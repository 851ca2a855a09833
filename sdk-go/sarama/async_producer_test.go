package sarama_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// patience bounds every wait of these tests; it is long as other work may run beside them.
const patience = 30 * time.Second

func newAsyncProducer(t testing.TB, addrs []string, config *sarama.Config) sarama.AsyncProducer {
	t.Helper()
	producer, err := sarama.NewAsyncProducer(addrs, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, producer) })
	return producer
}

// outcomes are what came back of an async producer.
type outcomes struct {
	successes []*sarama.ProducerMessage
	errors    []*sarama.ProducerError
}

// collect reads as many outcomes as there are messages.
func collect(t testing.TB, producer sarama.AsyncProducer, messages int) outcomes {
	t.Helper()
	var all outcomes
	limit := time.After(patience)
	for range messages {
		select {
		case m := <-producer.Successes():
			all.successes = append(all.successes, m)
		case err := <-producer.Errors():
			all.errors = append(all.errors, err)
		case <-limit:
			t.Fatalf("%d successes and %d errors of %d messages",
				len(all.successes), len(all.errors), messages)
		}
	}
	return all
}

// drain reads until both channels are closed.
func drain(t testing.TB, producer sarama.AsyncProducer) outcomes {
	t.Helper()
	var all outcomes
	successes, failures := producer.Successes(), producer.Errors()
	for limit := time.After(patience); successes != nil || failures != nil; {
		select {
		case m, open := <-successes:
			if !open {
				successes = nil
			} else {
				all.successes = append(all.successes, m)
			}
		case err, open := <-failures:
			if !open {
				failures = nil
			} else {
				all.errors = append(all.errors, err)
			}
		case <-limit:
			t.Fatal("the channels were not closed")
		}
	}
	return all
}

func send(t testing.TB, producer sarama.AsyncProducer, m *sarama.ProducerMessage) {
	t.Helper()
	select {
	case producer.Input() <- m:
	case <-time.After(patience):
		t.Fatal("the producer takes no message")
	}
}

// await waits for a condition.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// badEncoder has no bytes.
type badEncoder struct{}

var errEncoder = errors.New("cannot be encoded")

func (badEncoder) Encode() ([]byte, error) { return nil, errEncoder }
func (badEncoder) Length() int             { return 1 }

// Each message comes back once, as the pointer that it was, on one of the channels.
func TestAsyncProducerAnswersEachMessageOnce(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		config := testConfig()
		config.Producer.MaxMessageBytes = 1000
		producer := newAsyncProducer(t, addrs, config)
		sent, back := map[*sarama.ProducerMessage]int{}, map[*sarama.ProducerMessage]int{}
		var all outcomes
		const count = 400
		for i := range count {
			m := text("t", fmt.Sprint(i))
			m.Metadata = i
			switch i % 20 {
			case 7:
				m.Value = sarama.ByteEncoder(make([]byte, 1001))
			case 13:
				m.Value = badEncoder{}
			case 17:
				m.Topic = "a/b"
			}
			sent[m] = i
			for taken := false; !taken; { // as programs do it
				select {
				case producer.Input() <- m:
					taken = true
				case m := <-producer.Successes():
					all.successes = append(all.successes, m)
				case err := <-producer.Errors():
					all.errors = append(all.errors, err)
				}
			}
		}
		rest := collect(t, producer, count-len(all.successes)-len(all.errors))
		all.successes = append(all.successes, rest.successes...)
		all.errors = append(all.errors, rest.errors...)
		for offset, m := range all.successes {
			back[m]++
			if m.Offset != int64(offset) || m.Partition != 0 || m.Timestamp.IsZero() {
				t.Errorf("success %d has %d/%d and %v", offset, m.Partition, m.Offset, m.Timestamp)
			}
		}
		for _, err := range all.errors {
			back[err.Msg]++
			var configuration sarama.ConfigurationError
			switch i := sent[err.Msg] % 20; {
			case i == 7 && errors.As(err, &configuration):
			case i == 13 && errors.Is(err, errEncoder):
			case i == 17 && err.Err == sarama.ErrInvalidTopic:
			default:
				t.Errorf("message %d: %v", sent[err.Msg], err)
			}
		}
		for m, i := range sent {
			if back[m] != 1 || m.Metadata != i {
				t.Errorf("message %d came back %d times, with %v", i, back[m], m.Metadata)
			}
		}
		if len(all.errors) != 60 || len(back) != count {
			t.Errorf("%d errors, %d messages", len(all.errors), len(back))
		}
	})
}

// Of each partition, messages are in the log in the order in which they were sent, and once, though
// batches fail and answers are lost.
func TestAsyncProducerKeepsOrderOverRetries(t *testing.T) {
	server := newServer(t)
	server.DefaultPartitions = 3
	var batches atomic.Int64
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		switch n := batches.Add(1); n % 4 {
		case 0:
			return &testserver.Fault{Status: testserver.Status(codes.Unavailable, "NO_QUORUM")}
		case 2:
			return &testserver.Fault{
				Append: true, Status: testserver.Status(codes.Unavailable, "LEADER_CHANGED"),
			}
		}
		return nil
	})
	config := testConfig()
	config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
	config.Producer.Retry.Max, config.Producer.Retry.Backoff = 1000, time.Millisecond
	config.Producer.Flush.MaxMessages = 10
	config.Producer.Partitioner = sarama.NewManualPartitioner
	producer := newAsyncProducer(t, []string{server.Address()}, config)
	const count = 600
	go func() {
		for i := range count {
			m := text("t", fmt.Sprint(i))
			m.Partition = int32(i % 3)
			producer.Input() <- m
		}
	}()
	all := collect(t, producer, count)
	if len(all.errors) > 0 {
		t.Fatal(all.errors[0])
	}
	next := map[int32]int64{}
	for _, m := range all.successes {
		if m.Offset != next[m.Partition] {
			t.Fatalf("offset %d of partition %d comes where %d is due",
				m.Offset, m.Partition, next[m.Partition])
		}
		next[m.Partition]++
	}
	for partition := range int32(3) {
		values, err := server.Values("t", partition)
		if err != nil || len(values) != count/3 {
			t.Fatalf("partition %d has %d values: %v", partition, len(values), err)
		}
		for i, value := range values {
			if value != fmt.Sprint(i*3+int(partition)) {
				t.Fatalf("value %d of partition %d is %s", i, partition, value)
			}
		}
	}
}

// heldUp sends more than there is memory for, while nobody reads what comes back: that holds up the
// sender, and is all there when it is read.
func heldUp(t *testing.T, producer sarama.AsyncProducer) {
	t.Helper()
	const count = 300
	value := sarama.ByteEncoder(make([]byte, 800<<10))
	var sent atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range count {
			producer.Input() <- &sarama.ProducerMessage{Topic: "t", Value: value}
			sent.Add(1)
		}
	}()
	await(t, "messages that are taken", func() bool { return sent.Load() >= 20 })
	select {
	case <-done:
		t.Error("nothing held up the sender")
	case <-time.After(200 * time.Millisecond): // if there is nothing, this is long enough to see it
	}
	back := map[*sarama.ProducerMessage]bool{}
	for _, err := range collect(t, producer, count).errors {
		back[err.Msg] = true
	}
	if len(back) != count {
		t.Errorf("%d messages came back with an error", len(back))
	}
	<-done
}

// What nobody reads holds up the program, which loses nothing.
func TestAsyncProducerWaitsForItsReader(t *testing.T) {
	server := newServer(t)
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		return &testserver.Fault{Status: testserver.Status(codes.ResourceExhausted, "STORAGE_FULL")}
	})
	config := testConfig()
	config.ChannelBufferSize = 1
	config.Producer.Retry.Max = 0
	heldUp(t, newAsyncProducer(t, []string{server.Address()}, config))
}

// So does what is refused before it is sent: it takes its memory all the same.
func TestRefusedMessagesHoldUpTheirSender(t *testing.T) {
	config := testConfig()
	config.ChannelBufferSize = 1
	t.Run("topic", func(t *testing.T) {
		server := newServer(t)
		server.OnSubscribe(func(*pb.SubscribeRequest) error {
			return testserver.Status(codes.PermissionDenied, "").Err()
		})
		heldUp(t, newAsyncProducer(t, []string{server.Address()}, config))
	})
	t.Run("partitioner", func(t *testing.T) {
		config := *config
		config.Producer.Partitioner = func(string) sarama.Partitioner { return nowhere{} }
		heldUp(t, newAsyncProducer(t, []string{newServer(t).Address()}, &config))
	})
	t.Run("size", func(t *testing.T) {
		config := *config
		config.Producer.MaxMessageBytes = 500 << 10
		heldUp(t, newAsyncProducer(t, []string{newServer(t).Address()}, &config))
	})
	t.Run("closed", func(t *testing.T) {
		server, hold := newServer(t), make(chan struct{})
		server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
			<-hold
			return nil
		})
		producer := newAsyncProducer(t, []string{server.Address()}, config)
		send(t, producer, text("t", "early"))
		late := closingSoon(t, producer)
		heldUp(t, producer)
		close(hold)
		all := drain(t, producer)
		if len(all.successes) == 0 || len(all.successes)+len(all.errors) != late {
			t.Errorf("%d successes and %d errors more, of %d that came late",
				len(all.successes), len(all.errors), late)
		}
	})
}

// closingSoon begins to close a producer that has something underway, and sends until it has told
// that it refuses something: what comes while it notices may be taken yet. It returns how many of
// these messages there are.
func closingSoon(t *testing.T, producer sarama.AsyncProducer) (late int) {
	t.Helper()
	producer.AsyncClose()
	for {
		send(t, producer, text("t", "late"))
		late++
		select {
		case err := <-producer.Errors():
			if err.Err != sarama.ErrShuttingDown {
				t.Fatalf("got %v", err)
			}
			return late
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// nowhere is a partitioner that has no place for any message.
type nowhere struct{}

func (nowhere) Partition(*sarama.ProducerMessage, int32) (int32, error) {
	return 0, errors.New("nowhere")
}
func (nowhere) RequiresConsistency() bool { return true }

// AsyncClose has all that was sent before answered, and then closes both channels.
func TestAsyncCloseDrains(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		producer := newAsyncProducer(t, addrs, testConfig())
		for i := range 200 {
			send(t, producer, text("t", fmt.Sprint(i)))
		}
		producer.AsyncClose()
		producer.AsyncClose()
		if all := drain(t, producer); len(all.successes) != 200 || len(all.errors) > 0 {
			t.Errorf("%d successes, %d errors", len(all.successes), len(all.errors))
		}
	})
}

// Close waits for what was sent, drops successes, and returns errors. Closing again does nothing.
func TestAsyncProducerClose(t *testing.T) {
	addrs := []string{newServer(t).Address()}
	config := testConfig()
	config.ChannelBufferSize = 2
	config.Producer.MaxMessageBytes = 1000
	producer := newAsyncProducer(t, addrs, config)
	bad := &sarama.ProducerMessage{Topic: "t", Value: sarama.ByteEncoder(make([]byte, 1001))}
	for range 5 {
		send(t, producer, text("t", "x"))
	}
	send(t, producer, bad)
	err := producer.Close()
	var failures sarama.ProducerErrors
	if !errors.As(err, &failures) || len(failures) != 1 || failures[0].Msg != bad {
		t.Errorf("got %v", err)
	}
	if err := producer.Close(); err != nil {
		t.Errorf("a second time: %v", err)
	}
	producer.AsyncClose()
	consumer := newConsumer(t, addrs, testConfig())
	partition := consume(t, consumer, "t", 0, sarama.OffsetOldest)
	for range 5 {
		receive(t, partition, "x")
	}
}

// A message that comes after AsyncClose is refused, while there is somebody to tell.
func TestSendAfterAsyncClose(t *testing.T) {
	server := newServer(t)
	hold, held := make(chan struct{}), make(chan struct{})
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		close(held)
		<-hold
		return nil
	})
	producer := newAsyncProducer(t, []string{server.Address()}, testConfig())
	send(t, producer, text("t", "early"))
	<-held
	late := closingSoon(t, producer)
	server.OnProduce(nil)
	close(hold)
	all := drain(t, producer)
	if len(all.successes) == 0 || len(all.successes)+len(all.errors) != late {
		t.Errorf("%d successes and %d errors more, of %d that came late",
			len(all.successes), len(all.errors), late)
	}
}

// logged keeps what is logged.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *logged) Print(v ...any)                 { l.add(fmt.Sprint(v...)) }
func (l *logged) Printf(format string, v ...any) { l.add(fmt.Sprintf(format, v...)) }
func (l *logged) Println(v ...any)               { l.add(fmt.Sprintln(v...)) }

func (l *logged) count(is func(line string) bool) (count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if is(line) {
			count++
		}
	}
	return count
}

// logTo has this package log to a test. Nothing of the package may run.
func logTo(t testing.TB) *logged {
	before, l := sarama.Logger, &logged{}
	sarama.Logger = l
	t.Cleanup(func() { sarama.Logger = before })
	return l
}

// After the end messages are dropped with a line in the log; nobody panics, or waits for ever.
func TestSendAfterTheEnd(t *testing.T) {
	for _, room := range []int{0, 5} {
		log := logTo(t)
		config := testConfig()
		config.ChannelBufferSize = room
		producer := newAsyncProducer(t, []string{newServer(t).Address()}, config)
		closing(t, producer)
		for i := range 20 {
			send(t, producer, text("t", fmt.Sprint(i)))
		}
		want := "dropped: " + (&sarama.ProducerError{
			Msg: text("t", ""), Err: sarama.ErrShuttingDown,
		}).Error() + "\n"
		dropped := func(line string) bool { return line == want }
		await(t, "20 lines", func() bool { return log.count(dropped) == 20 })
	}
}

// Senders that wait when the producer ends are let go.
func TestSendersAreLetGoAtTheEnd(t *testing.T) {
	config := testConfig()
	config.ChannelBufferSize = 0
	producer := newAsyncProducer(t, []string{newServer(t).Address()}, config)
	var sending sync.WaitGroup
	for range 20 {
		sending.Go(func() { producer.Input() <- text("t", "x") })
	}
	_ = producer.Close() // what came late is among its errors
	ended := make(chan struct{})
	go func() {
		sending.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("a sender waits for ever")
	}
}

// What is not wanted back is not sent back; errors are logged then.
func TestAsyncProducerWithoutReturns(t *testing.T) {
	log := logTo(t)
	server := newServer(t)
	config := testConfig()
	config.Producer.Return.Successes, config.Producer.Return.Errors = false, false
	config.ChannelBufferSize = 0
	producer := newAsyncProducer(t, []string{server.Address()}, config)
	for range 10 {
		send(t, producer, text("t", "x"))
		send(t, producer, text("a/b", "x"))
	}
	send(t, producer, nil)
	closing(t, producer)
	if values, err := server.Values("t", 0); err != nil || len(values) != 10 {
		t.Errorf("%d values, %v", len(values), err)
	}
	failed := (&sarama.ProducerError{
		Msg: text("a/b", "x"), Err: sarama.ErrInvalidTopic,
	}).Error() + "\n"
	if n := log.count(func(line string) bool { return line == failed }); n != 10 {
		t.Errorf("%d errors were logged", n)
	}
}

// A producer of a client that was closed says so, and ends.
func TestAsyncProducerOfAClosedClient(t *testing.T) {
	client, err := sarama.NewClient([]string{newServer(t).Address()}, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	producer, err := sarama.NewAsyncProducerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	send(t, producer, text("t", "x"))
	if all := collect(t, producer, 1); len(all.successes) != 1 {
		t.Errorf("got %v", all.errors)
	}
	closing(t, client)
	send(t, producer, text("t", "x"))
	if all := collect(t, producer, 1); len(all.errors) != 1 ||
		all.errors[0].Err != sarama.ErrClosedClient {
		t.Errorf("got %v", all)
	}
	closing(t, producer)
	_, err = sarama.NewAsyncProducerFromClient(client)
	if !errors.Is(err, sarama.ErrClosedClient) {
		t.Errorf("got %v", err)
	}
}

// A nil config stands for the defaults, in which successes do not come back.
func TestAsyncProducerWithANilConfig(t *testing.T) {
	server := newServer(t)
	producer := newAsyncProducer(t, []string{server.Address()}, nil)
	send(t, producer, text("t", "x"))
	closing(t, producer)
	if values, err := server.Values("t", 0); err != nil || !slices.Equal(values, []string{"x"}) {
		t.Errorf("got %v, %v", values, err)
	}
}
