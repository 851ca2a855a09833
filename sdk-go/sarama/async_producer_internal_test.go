package sarama

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// lines is a Logger that keeps what it is told.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Print(v ...any)                 { l.add(fmt.Sprint(v...)) }
func (l *lines) Printf(format string, v ...any) { l.add(fmt.Sprintf(format, v...)) }
func (l *lines) Println(v ...any)               { l.add(fmt.Sprintln(v...)) }

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

func (l *lines) count(part string) (count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, part) {
			count++
		}
	}
	return count
}

// logLines has this package log to a test. Nothing of the package may run.
func logLines(t testing.TB) *lines {
	before, l := Logger, &lines{}
	Logger = l
	t.Cleanup(func() { Logger = before })
	return l
}

// Somebody has called Input, and sends when both channels are closed already: that is in the log,
// and the producer has waited for it.
func TestTheEndWaitsForWhoHasCalledInput(t *testing.T) {
	log := logLines(t)
	p := newInternalProducer(t, newInternalServer(t), NewConfig())
	p.lateFor = time.Hour // take looks at it in the end only
	input := p.Input()
	p.AsyncClose()
	for range p.Errors() {
		t.Error("an error")
	}
	<-p.over // nobody takes any more, but for whom is waited
	input <- &ProducerMessage{Topic: "t"}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if n := log.count("dropped: "); n != 1 {
		t.Errorf("%d lines", n)
	}
}

// Who comes late takes from the channel as well as the end does, which must not wait for what was
// taken from it.
func TestTheEndWaitsForNothingThatOthersTook(t *testing.T) {
	logLines(t)
	for range 200 {
		p := &asyncProducer{input: make(chan *ProducerMessage, leastInput), results: newResults()}
		p.results.complete()
		p.inputs.Add(2 * leastInput) // half of them send in vain
		for range leastInput {
			p.input <- &ProducerMessage{Topic: "t"}
		}
		var other sync.WaitGroup
		other.Go(func() {
			for range leastInput {
				select {
				case <-p.input:
				default:
				}
			}
		})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			p.refuseLate()
		}()
		other.Wait()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Fatal("it waits for ever")
		}
	}
}

// newInternalProducer is an async producer on a server of a test.
func newInternalProducer(
	t *testing.T, server *testserver.Server, config *Config,
) *asyncProducer {
	t.Helper()
	common, err := dialProducer([]string{server.Address()}, config)
	if err != nil {
		t.Fatal(err)
	}
	return newAsyncProducer(common)
}

func newInternalServer(t *testing.T) *testserver.Server {
	t.Helper()
	server, err := testserver.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// So many topics at a time are looked up, and no more: then messages stay in Input.
func TestLinesOfUnknownTopicsAreBounded(t *testing.T) {
	const topics, most = 20, 3
	server, hold := newInternalServer(t), make(chan struct{})
	var inside, highest atomic.Int64
	server.OnSubscribe(func(*pb.SubscribeRequest) error { // which creates a topic
		n := inside.Add(1)
		defer inside.Add(-1)
		for h := highest.Load(); n > h && !highest.CompareAndSwap(h, n); h = highest.Load() {
		}
		<-hold
		return nil
	})
	config := NewConfig()
	config.Producer.Return.Successes = true
	p := newInternalProducer(t, server, config)
	p.waiting.most = most
	for i := range topics {
		p.Input() <- &ProducerMessage{Topic: fmt.Sprintf("t-%d", i)}
	}
	const asked = most + 1 // that of the message in the hand of take too
	eventually(t, "as many topics as may be", func() bool { return inside.Load() == asked })
	if left := len(p.input); left != topics-asked {
		t.Errorf("%d messages are left in Input", left)
	}
	close(hold)
	p.AsyncClose()
	back := 0
	for range p.Successes() {
		back++
	}
	if err := p.Close(); err != nil || back != topics || highest.Load() > asked {
		t.Errorf("%d have a success, up to %d were looked up: %v", back, highest.Load(), err)
	}
}

// slowly is a partitioner that takes its time.
type slowly struct{ Partitioner }

func (s slowly) Partition(m *ProducerMessage, n int32) (int32, error) {
	time.Sleep(100 * time.Microsecond)
	return s.Partitioner.Partition(m, n)
}

// Once a topic is known, its messages do not wait for each other any more, also when its program
// sends faster than they can be sent on.
func TestLineEndsWhileMoreIsSent(t *testing.T) {
	config := NewConfig()
	config.Producer.Partitioner = func(topic string) Partitioner {
		return slowly{NewHashPartitioner(topic)}
	}
	p := newInternalProducer(t, newInternalServer(t), config)
	stop, stopped := make(chan struct{}), make(chan struct{})
	begun := make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			select {
			case p.Input() <- &ProducerMessage{Topic: "t"}:
			case <-stop:
				return
			}
			if n == 2*leastWaiting {
				close(begun)
			}
		}
	}()
	<-begun
	eventually(t, "the end of the line", func() bool { return p.waiting.some.Load() == 0 })
	close(stop)
	<-stopped
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// Who waits for the end of a line goes on when a message in it has to ask, which may take long.
func TestLineThatAsksHoldsUpNobody(t *testing.T) {
	w := &waitingTopics{}
	w.init(&asyncProducer{producer: &producer{config: NewConfig()}})
	w.lines["t"] = &waitingLine{}
	w.some.Add(1)
	w.end("t", true)
	joined := make(chan bool, 1)
	go func() { joined <- w.join(&ProducerMessage{Topic: "t"}, 1) }()
	w.end("t", false)
	select {
	case ok := <-joined:
		if !ok || len(w.lines["t"].messages) != 1 {
			t.Errorf("joined: %v, %d wait", ok, len(w.lines["t"].messages))
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for ever")
	}
}
