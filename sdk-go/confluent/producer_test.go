package kafka_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// Each message is reported once, with its place and what the program gave it along.
func TestReports(t *testing.T) {
	eachBroker(t, func(t *testing.T, address string) {
		p, topic := newProducer(t, address), newName("reports")
		const n = 500
		for i := range n {
			m := message(topic, fmt.Sprint(i))
			m.Key, m.Opaque = []byte("k"), i
			if err := p.Produce(m, nil); err != nil {
				t.Fatal(err)
			}
			m.Value[0], m.Key[0] = '?', '?' // they are the program's again
		}
		for i := range n {
			m := nextEvent(t, p.Events()).(*kafka.Message)
			at := m.TopicPartition
			if at.Error != nil || *at.Topic != topic || at.Partition != 0 || int(at.Offset) != i ||
				m.Opaque != i || string(m.Value) != fmt.Sprint(i) || string(m.Key) != "k" {
				t.Fatalf("report %d is %v of %q, opaque %v", i, at, m.Value, m.Opaque)
			}
		}
		if left := p.Flush(1000); left != 0 || p.Len() != 0 {
			t.Errorf("%d are left, Len is %d", left, p.Len())
		}
	})
}

func TestReportsOnAChannelOfTheirOwn(t *testing.T) {
	address := newServer(t).Address()
	p := newProducer(t, address, "go.delivery.report.fields", "headers")
	own := make(chan kafka.Event)
	m := message("own", "v")
	m.Headers = []kafka.Header{{Key: "h", Value: []byte("1")}, {Key: "h"}}
	if err := p.Produce(m, own); err != nil {
		t.Fatal(err)
	}
	report := nextEvent(t, own).(*kafka.Message)
	if report.Value != nil || len(report.Headers) != 2 || report.Headers[1].Value != nil {
		t.Errorf("the report has %q, %v", report.Value, report.Headers)
	}
	if p.Len() > 1 || len(p.Events()) != 0 {
		t.Errorf("Len is %d, and %d events are there", p.Len(), len(p.Events()))
	}
}

// A program that hears of nothing by Events gets no reports there.
func TestNoReports(t *testing.T) {
	p := newProducer(t, newServer(t).Address(), "go.delivery.reports", false)
	if err := p.Produce(message("silent", "v"), nil); err != nil {
		t.Fatal(err)
	}
	if left := p.Flush(int(patience.Milliseconds())); left != 0 {
		t.Errorf("%d are left", left)
	}
}

func TestQueueFull(t *testing.T) {
	server := newServer(t)
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		return &testserver.Fault{Hang: true}
	})
	p := newProducer(t, server.Address(), "queue.buffering.max.messages", 3)
	for i := range 3 {
		if err := p.Produce(message("full", fmt.Sprint(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	err := p.Produce(message("full", "one too many"), nil)
	hasCode(t, err, kafka.ErrQueueFull)
	if err.Error() != "Local: Queue full" || !err.(kafka.Error).IsRetriable() {
		t.Errorf("it says %q", err)
	}
	if left := p.Flush(50); left != 3 {
		t.Errorf("%d are left, not 3", left)
	}
	// What is under way can be given up; there is room again then.
	if err := p.Purge(kafka.PurgeQueue | kafka.PurgeInFlight); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		report := nextEvent(t, p.Events()).(*kafka.Message)
		code := report.TopicPartition.Error.(kafka.Error).Code()
		if code != kafka.ErrPurgeQueue && code != kafka.ErrPurgeInflight {
			t.Errorf("a message that was given up has %v", report.TopicPartition.Error)
		}
	}
	until(t, "room", func() bool { return p.Produce(message("full", "now"), nil) == nil })
	hasCode(t, p.Purge(64), kafka.ErrInvalidArg)
}

// The queue is bounded in bytes too.
func TestQueueFullOfBytes(t *testing.T) {
	server := newServer(t)
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		return &testserver.Fault{Hang: true}
	})
	p := newProducer(t, server.Address(), "queue.buffering.max.kbytes", 1)
	if err := p.Produce(message("full", string(make([]byte, 1000))), nil); err != nil {
		t.Fatal(err)
	}
	hasCode(t, p.Produce(message("full", string(make([]byte, 100))), nil), kafka.ErrQueueFull)
}

func TestMessagesThatAreRefused(t *testing.T) {
	p := newProducer(t, newServer(t).Address(), "message.max.bytes", 1000)
	hasCode(t, p.Produce(nil, nil), kafka.ErrInvalidArg)
	hasCode(t, p.Produce(&kafka.Message{}, nil), kafka.ErrInvalidArg)
	hasCode(t, p.Produce(message("t", string(make([]byte, 1001))), nil), kafka.ErrMsgSizeTooLarge)
	if p.Len() != 0 {
		t.Errorf("Len is %d", p.Len())
	}
	p.Close()
	p.Close()
	hasCode(t, p.Produce(message("t", "v"), nil), kafka.ErrState)
	if !p.IsClosed() {
		t.Error("it is not closed")
	}
	if _, open := <-p.Events(); open {
		t.Error("Events is open")
	}
}

func TestUnknownPartition(t *testing.T) {
	address := newServer(t).Address()
	produce(t, address, "one", "v")
	p := newProducer(t, address)
	m := message("one", "v")
	m.TopicPartition.Partition = 7
	if err := p.Produce(m, nil); err != nil {
		t.Fatal(err)
	}
	report := nextEvent(t, p.Events()).(*kafka.Message)
	hasCode(t, report.TopicPartition.Error, kafka.ErrUnknownPartition)
	if report.TopicPartition.Partition != 7 || report.TopicPartition.Offset != kafka.OffsetInvalid {
		t.Errorf("the report is %v", report)
	}
}

// A message whose answer is lost is sent again, and is in the log once.
func TestLostAnswer(t *testing.T) {
	server := newServer(t)
	tries := 0
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		if tries++; tries == 1 {
			return &testserver.Fault{Append: true, Cut: true}
		}
		return nil
	})
	produce(t, server.Address(), "lost", "a", "b")
	if got := readAll(t, server.Address(), "lost", 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the log has %q", got)
	}
}

func TestProduceChannel(t *testing.T) {
	p := newProducer(t, newServer(t).Address(), "queue.buffering.max.messages", 2)
	go func() {
		for i := range 10 {
			p.ProduceChannel() <- message("channel", fmt.Sprint(i))
		}
	}()
	for i := range 10 {
		m := nextEvent(t, p.Events()).(*kafka.Message)
		if m.TopicPartition.Error != nil || string(m.Value) != fmt.Sprint(i) {
			t.Fatalf("report %d is %v of %q", i, m, m.Value)
		}
	}
}

// What ProduceChannel refuses is reported on Events, also where those have little room, and counted
// until it is read.
func TestProduceChannelRefuses(t *testing.T) {
	p := newProducer(t, newServer(t).Address(), "go.events.channel.size", 0, "message.max.bytes", 1000,
		"queue.buffering.max.messages", 2)
	const n = 5
	p.ProduceChannel() <- nil
	p.ProduceChannel() <- &kafka.Message{Opaque: 0}
	for i := range n - 1 {
		m := message("channel", string(make([]byte, 1001)))
		m.Opaque = i + 1
		p.ProduceChannel() <- m
	}
	until(t, "two of them to be counted", func() bool { return p.Len() >= 2 })
	for i := range n {
		m := nextEvent(t, p.Events()).(*kafka.Message)
		if m.TopicPartition.Error == nil || m.Opaque != i {
			t.Errorf("report %d is %v of %v", i, m, m.Opaque)
		}
	}
	until(t, "nothing to be left", func() bool { return p.Len() == 0 })
}

// Whatever ProduceChannel has taken is reported, also where Close ends what waits for room.
func TestProduceChannelIsClosed(t *testing.T) {
	server := newServer(t)
	server.Stop()
	p := newProducer(t, server.Address(), "queue.buffering.max.messages", 1)
	hasCode(t, nextEvent(t, p.Events()).(kafka.Error), kafka.ErrTransport)
	const n = 100
	for i := range n {
		m := message("channel", "v")
		m.Opaque = i
		p.ProduceChannel() <- m
	}
	p.Close()
	reported := 0
	for e := range p.Events() {
		if m, ok := e.(*kafka.Message); ok {
			hasCode(t, m.TopicPartition.Error, kafka.ErrDestroy)
			reported++
		}
	}
	if reported != n {
		t.Errorf("%d messages of %d were reported", reported, n)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
}

// Producers are made without a broker: messages wait for one, and it is told that none is there.
func TestBrokerThatComesLater(t *testing.T) {
	server := newServer(t)
	server.Stop()
	p := newProducer(t, server.Address(), "socket.connection.setup.timeout.ms", 1000,
		"reconnect.backoff.ms", 10, "reconnect.backoff.max.ms", 20)
	reports := make(chan kafka.Event, 1)
	if err := p.Produce(message("later", "v"), reports); err != nil {
		t.Fatal(err)
	}
	hasCode(t, nextEvent(t, p.Events()).(kafka.Error), kafka.ErrTransport)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if report := nextEvent(t, reports).(*kafka.Message); report.TopicPartition.Error != nil {
		t.Error(report)
	}
}

func TestMessageTimeout(t *testing.T) {
	server := newServer(t)
	server.Stop()
	p := newProducer(t, server.Address(), "message.timeout.ms", 50)
	reports := make(chan kafka.Event, 1)
	if err := p.Produce(message("late", "v"), reports); err != nil {
		t.Fatal(err)
	}
	report := nextEvent(t, reports).(*kafka.Message)
	hasCode(t, report.TopicPartition.Error, kafka.ErrMsgTimedOut)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
}

// No message outlives its time by that of others: those to a topic that cannot be asked for are
// given up together, also when the producer was connected before.
func TestMessageTimeoutOfATopicThatCannotBeAskedFor(t *testing.T) {
	server := newServer(t)
	p := newProducer(t, server.Address(), "message.timeout.ms", 500)
	reports := make(chan kafka.Event, 10)
	if err := p.Produce(message("known", "v"), reports); err != nil {
		t.Fatal(err)
	}
	nextEvent(t, reports)
	server.Stop()
	began := time.Now()
	for range 10 {
		if err := p.Produce(message("unknown", "v"), reports); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		report := nextEvent(t, reports).(*kafka.Message)
		hasCode(t, report.TopicPartition.Error, kafka.ErrMsgTimedOut)
	}
	if took := time.Since(began); took < 500*time.Millisecond || took > 10*time.Second {
		t.Errorf("they were given up after %v", took)
	}
}

// A message that waits for its topic is queued, and not under way.
func TestPurgeOfWhatWaitsForItsTopic(t *testing.T) {
	server := newServer(t)
	p := newProducer(t, server.Address())
	reports := make(chan kafka.Event, 1)
	purge := func(flags int) {
		t.Helper()
		until(t, "the message to wait", p.Asking)
		if err := p.Purge(flags); err != nil {
			t.Fatal(err)
		}
	}
	send := func(topic string) {
		t.Helper()
		if err := p.Produce(message(topic, "v"), reports); err != nil {
			t.Fatal(err)
		}
	}
	send("known")
	nextEvent(t, reports)
	server.Stop()
	send("unknown")
	purge(kafka.PurgeQueue)
	hasCode(t, nextEvent(t, reports).(*kafka.Message).TopicPartition.Error, kafka.ErrPurgeQueue)
	send("unknown")
	purge(kafka.PurgeInFlight)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if report := nextEvent(t, reports).(*kafka.Message); report.TopicPartition.Error != nil {
		t.Error(report)
	}
}

// What Purge gives up while no broker is there is kept no longer.
func TestPurgeWithoutABroker(t *testing.T) {
	server := newServer(t)
	server.Stop()
	p := newProducer(t, server.Address(), "queue.buffering.max.messages", 10)
	reports := make(chan kafka.Event, 10)
	for range 100 {
		sent := 0
		for p.Produce(message("t", "v"), reports) == nil {
			sent++
		}
		if err := p.Purge(kafka.PurgeQueue); err != nil {
			t.Fatal(err)
		}
		if queued, _ := p.Waits(); queued > 0 {
			t.Fatalf("%d messages are queued", queued)
		}
		until(t, "nothing to wait", func() bool { _, waits := p.Waits(); return !waits })
		for range sent {
			report := nextEvent(t, reports).(*kafka.Message)
			hasCode(t, report.TopicPartition.Error, kafka.ErrPurgeQueue)
		}
		until(t, "room", func() bool { return p.Len() == len(p.Events()) })
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
}

// What Close gives up is reported as that, wherever it was: here one waits for its topic.
func TestCloseOfWhatWaitsForItsTopic(t *testing.T) {
	server := newServer(t)
	p := newProducer(t, server.Address())
	reports := make(chan kafka.Event, 3)
	if err := p.Produce(message("known", "v"), reports); err != nil {
		t.Fatal(err)
	}
	nextEvent(t, reports)
	server.Stop()
	for range 2 {
		if err := p.Produce(message("unknown", "v"), reports); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "one to wait", p.Asking)
	p.Close()
	for range 2 {
		report := nextEvent(t, reports).(*kafka.Message)
		hasCode(t, report.TopicPartition.Error, kafka.ErrDestroy)
	}
}

// What ProduceChannel refuses is reported also where nothing else is.
func TestProduceChannelRefusesWithoutReports(t *testing.T) {
	p := newProducer(t, newServer(t).Address(), "go.delivery.reports", false,
		"message.max.bytes", 1000)
	p.ProduceChannel() <- message("t", string(make([]byte, 1001)))
	report := nextEvent(t, p.Events()).(*kafka.Message)
	hasCode(t, report.TopicPartition.Error, kafka.ErrMsgSizeTooLarge)
}

// Messages linger also where there is little time for an answer.
func TestLingerWithAShortTimeout(t *testing.T) {
	p := newProducer(t, newServer(t).Address(), "linger.ms", 300, "message.timeout.ms", 20_000)
	reports := make(chan kafka.Event, 1)
	began := time.Now()
	if err := p.Produce(message("linger", "v"), reports); err != nil {
		t.Fatal(err)
	}
	nextEvent(t, reports)
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("it was sent after %v", took)
	}
	_, err := kafka.NewProducer(with("localhost:1", "linger.ms", 500, "message.timeout.ms", 500))
	hasCode(t, err, kafka.ErrInvalidArg)
}

// Close sends what it was given, also what nobody has waited for.
func TestCloseWithoutFlush(t *testing.T) {
	address := newServer(t).Address()
	p := newProducer(t, address, "linger.ms", 60_000, "message.timeout.ms", 300_000)
	p2 := newProducer(t, address)
	if err := p2.Produce(message("close", "first"), nil); err != nil {
		t.Fatal(err)
	}
	p2.Flush(0)
	nextEvent(t, p2.Events())
	if err := p.Produce(message("close", "second"), nil); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if got := readAll(t, address, "close", 2); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("the log has %q", got)
	}
}

// Flush does not linger.
func TestFlushDoesNotLinger(t *testing.T) {
	p := newProducer(t, newServer(t).Address(), "linger.ms", 200_000)
	reports := make(chan kafka.Event, 1)
	if err := p.Produce(message("linger", "v"), reports); err != nil {
		t.Fatal(err)
	}
	if left := p.Flush(int(patience.Milliseconds())); left != 0 {
		t.Fatalf("%d are left", left)
	}
	nextEvent(t, reports)
}

func TestFatalError(t *testing.T) {
	p := newProducer(t, newServer(t).Address())
	if err := p.GetFatalError(); err != nil {
		t.Error(err)
	}
	if code := p.TestFatalError(kafka.ErrFenced, "a test"); code != kafka.ErrNoError {
		t.Error(code)
	}
	if code := p.TestFatalError(kafka.ErrFenced, "again"); code != kafka.ErrPrevInProgress {
		t.Error(code)
	}
	err := p.Produce(message("t", "v"), nil)
	hasCode(t, err, kafka.ErrFatal)
	hasCode(t, p.GetFatalError(), kafka.ErrFenced)
	if !err.(kafka.Error).IsFatal() || !p.GetFatalError().(kafka.Error).IsFatal() {
		t.Errorf("it is %v, and the producer's is %v", err, p.GetFatalError())
	}
	hasCode(t, nextEvent(t, p.Events()).(kafka.Error), kafka.ErrFenced)
}

func TestTransactionsAreNotThere(t *testing.T) {
	p := newProducer(t, newServer(t).Address())
	err := p.BeginTransaction()
	hasCode(t, err, kafka.ErrUnsupportedFeature)
	if !err.(kafka.Error).IsFatal() {
		t.Error("it is not fatal")
	}
}

// readAll reads so many values of partition 0, from the beginning.
func readAll(t testing.TB, address, topic string, n int) []string {
	t.Helper()
	c := newConsumer(t, address, "readers")
	at := []kafka.TopicPartition{{Topic: &topic, Offset: kafka.OffsetBeginning}}
	if err := c.Assign(at); err != nil {
		t.Fatal(err)
	}
	var values []string
	for len(values) < n {
		values = append(values, string(read(t, c).Value))
	}
	if m, err := c.ReadMessage(50 * time.Millisecond); err == nil {
		t.Errorf("there is more: %q", m.Value)
	}
	return values
}

// Logs go to a channel, which Close closes.
func TestLogs(t *testing.T) {
	server := newServer(t)
	server.Stop()
	p := newProducer(t, server.Address(), "go.logs.channel.enable", true, "log_level", 6,
		"linger.ms", 5, "group.id", "not a producer's")
	if line := <-p.Logs(); line.Level != 4 || line.Name != p.String() {
		t.Errorf("the log has %v", line)
	}
	p.Close()
	for range p.Logs() {
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
}
