package ropewalk_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// A witness is a hook that keeps all that it is told.
type witness struct {
	mu     sync.Mutex
	events []any
	heard  chan struct{}
}

func newWitness() *witness { return &witness{heard: make(chan struct{}, 1)} }

func (w *witness) note(event any) {
	w.mu.Lock()
	w.events = append(w.events, event)
	w.mu.Unlock()
	select {
	case w.heard <- struct{}{}:
	default:
	}
}

func (w *witness) OnBrokerConnected(e ropewalk.BrokerConnected)       { w.note(e) }
func (w *witness) OnBrokerDisconnected(e ropewalk.BrokerDisconnected) { w.note(e) }
func (w *witness) OnBrokerUnreachable(e ropewalk.BrokerUnreachable)   { w.note(e) }
func (w *witness) OnRequestDone(e ropewalk.RequestDone)               { w.note(e) }
func (w *witness) OnStreamBroken(e ropewalk.StreamBroken)             { w.note(e) }
func (w *witness) OnBatchSent(e ropewalk.BatchSent)                   { w.note(e) }
func (w *witness) OnBatchRetried(e ropewalk.BatchRetried)             { w.note(e) }
func (w *witness) OnBatchAnswered(e ropewalk.BatchAnswered)           { w.note(e) }
func (w *witness) OnRecordsFailed(e ropewalk.RecordsFailed)           { w.note(e) }
func (w *witness) OnBatchReceived(e ropewalk.BatchReceived)           { w.note(e) }
func (w *witness) OnRecordsDelivered(e ropewalk.RecordsDelivered)     { w.note(e) }
func (w *witness) OnGapFound(e ropewalk.GapFound)                     { w.note(e) }
func (w *witness) OnGroupAssigned(e ropewalk.GroupChange)             { w.note(assigned{e}) }
func (w *witness) OnGroupRevoked(e ropewalk.GroupChange)              { w.note(revoked{e}) }
func (w *witness) OnGroupLost(e ropewalk.GroupChange)                 { w.note(lost{e}) }
func (w *witness) OnGroupLeft(e ropewalk.GroupChange)                 { w.note(left{e}) }
func (w *witness) OnCommitDone(e ropewalk.CommitDone)                 { w.note(e) }

type (
	assigned struct{ ropewalk.GroupChange }
	revoked  struct{ ropewalk.GroupChange }
	lost     struct{ ropewalk.GroupChange }
	left     struct{ ropewalk.GroupChange }
)

// toldOf waits until a witness was told of an event of a type that fits, and returns it.
func toldOf[E any](t *testing.T, w *witness, fits func(E) bool) E {
	t.Helper()
	ctx := testContext(t)
	for {
		w.mu.Lock()
		for _, event := range w.events {
			if e, ok := event.(E); ok && fits(e) {
				w.mu.Unlock()
				return e
			}
		}
		told := fmt.Sprintf("%+v", w.events)
		w.mu.Unlock()
		select {
		case <-w.heard:
		case <-ctx.Done():
			t.Fatalf("nobody told of such a %T, but of %s", *new(E), told)
		}
	}
}

func anyOf[E any](t *testing.T, w *witness) E {
	t.Helper()
	return toldOf(t, w, func(E) bool { return true })
}

// count is how many events of a type there were so far.
func count[E any](w *witness) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, event := range w.events {
		if _, ok := event.(E); ok {
			n++
		}
	}
	return n
}

// What goes out and comes in is told, batch by batch, with its sizes.
func TestHooksAreToldOfBatches(t *testing.T) {
	w := newWitness()
	client := dial(t, ropewalktest.Start(t).Address, ropewalk.WithHooks(w))
	topic := newName("hooked")
	producer := newProducer(t, client, ropewalk.WithCompression(ropewalk.CompressionZstd))
	value := []byte(strings.Repeat("rope ", 1000))
	ack, err := producer.Send(testContext(t), &ropewalk.Record{Topic: topic, Value: value})
	if err != nil {
		t.Fatal(err)
	}
	sent, answered := anyOf[ropewalk.BatchSent](t, w), anyOf[ropewalk.BatchAnswered](t, w)
	if sent.Topic != topic || sent.Records != 1 || sent.Attempt != 1 ||
		sent.Compression != ropewalk.CompressionZstd || sent.Bytes <= len(value) ||
		sent.WireBytes == 0 || sent.WireBytes >= 1000 {
		t.Errorf("sent: %+v", sent)
	}
	if answered.Err != nil || answered.Ack.Offset != ack.Offset || answered.Duration <= 0 ||
		answered.RoundTrip <= 0 || answered.RoundTrip > answered.Duration {
		t.Errorf("answered: %+v", answered)
	}
	sent.Address = answered.Address // it was not known, as nobody had answered
	if answered.BatchInfo != sent.BatchInfo {
		t.Errorf("answered: %+v", answered)
	}

	consumer := newConsumer(t, client, ropewalk.WithTopics(topic))
	expect(t, consumer, string(value))
	received := anyOf[ropewalk.BatchReceived](t, w)
	if received.Topic != topic || received.Records != 1 || received.Group != "" ||
		received.BaseOffset != 0 || received.Bytes < sent.Bytes ||
		received.WireBytes != sent.WireBytes || received.Compression != ropewalk.CompressionZstd {
		t.Errorf("received: %+v", received)
	}
	delivered := anyOf[ropewalk.RecordsDelivered](t, w)
	if delivered.Topic != topic || delivered.Records != 1 || delivered.Offset != 0 {
		t.Errorf("delivered: %+v", delivered)
	}
	if err := consumer.Commit(testContext(t), "readers"); err != nil {
		t.Fatal(err)
	}
	done := anyOf[ropewalk.CommitDone](t, w)
	if done.Group != "readers" || done.Member != "" || done.Err != nil ||
		len(done.Offsets) != 1 || done.Offsets[0].Offset != 1 {
		t.Errorf("committed: %+v", done)
	}
}

// A try that fails is told with its reason and pause, and the batch has one outcome.
func TestHooksAreToldOfRetriesAndFailures(t *testing.T) {
	server, w := newServer(t), newWitness()
	client := dial(t, server.Address(), ropewalk.WithHooks(w))
	producer := newProducer(t, client)
	refusals := 0
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		if refusals++; refusals == 1 {
			return &testserver.Fault{Status: testserver.Status(codes.Unavailable, "NO_LEADER")}
		}
		return nil
	})
	if _, err := sendValue(t, producer, "a"); err != nil {
		t.Fatal(err)
	}
	retried, answered := anyOf[ropewalk.BatchRetried](t, w), anyOf[ropewalk.BatchAnswered](t, w)
	if retried.Attempt != 1 || retried.Delay <= 0 || !errors.Is(retried.Err, ropewalk.ReasonNoLeader) {
		t.Errorf("retried: %+v", retried)
	}
	if answered.Attempt != 2 || answered.Err != nil {
		t.Errorf("answered: %+v", answered)
	}
	if n := count[ropewalk.BatchSent](w); n != 2 {
		t.Errorf("sent %d times", n)
	}

	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		return &testserver.Fault{Status: testserver.Status(codes.InvalidArgument, "CORRUPT_BATCH")}
	})
	if _, err := sendValue(t, producer, "b"); err == nil {
		t.Fatal("it was taken")
	}
	toldOf(t, w, func(e ropewalk.BatchAnswered) bool {
		return errors.Is(e.Err, ropewalk.ReasonCorruptBatch) && e.Records == 1 && e.Ack == ropewalk.Ack{}
	})
	if n := count[ropewalk.BatchAnswered](w); n != 2 {
		t.Errorf("%d outcomes of two batches", n)
	}
}

// What is appended by itself is a batch as any other.
func TestHooksAreToldOfAppends(t *testing.T) {
	server, w := newServer(t), newWitness()
	client := dial(t, server.Address(), ropewalk.WithHooks(w))
	producer := newProducer(t, client)
	records := []*ropewalk.Record{{Value: []byte("a")}, {Value: []byte("b")}}
	for _, want := range []error{nil, ropewalk.ReasonExpectedOffsetMismatch} {
		_, err := producer.Append(testContext(t), "t", 0, records, ropewalk.IfOffset(0))
		if !errors.Is(err, want) {
			t.Fatal(err)
		}
		e := toldOf(t, w, func(e ropewalk.BatchAnswered) bool { return errors.Is(e.Err, want) })
		if e.Topic != "t" || e.Records != 2 || e.Bytes == 0 || e.Attempt != 1 ||
			e.RoundTrip <= 0 || e.RoundTrip > e.Duration {
			t.Errorf("appended: %+v", e)
		}
	}
	if n := count[ropewalk.BatchSent](w); n != 2 {
		t.Errorf("sent %d times", n)
	}
	_, err := producer.Append(testContext(t), "t", 0, nil)
	if err == nil || count[ropewalk.BatchAnswered](w) != 2 {
		t.Errorf("what was not tried has an outcome: %v", err)
	}
}

// Connections, calls and streams are told of as they begin, end and break.
func TestHooksAreToldOfConnections(t *testing.T) {
	server, w := newServer(t), newWitness()
	client := dial(t, server.Address(), ropewalk.WithHooks(w))
	if e := anyOf[ropewalk.BrokerConnected](t, w); e.Address != server.Address() || e.Local == "" ||
		e.ClientID != "ropewalk-go" {
		t.Errorf("connected: %+v", e)
	}
	asked := toldOf(t, w, func(e ropewalk.RequestDone) bool {
		return strings.HasSuffix(e.Method, "AdminService/GetCluster")
	})
	if asked.Stream || asked.Err != nil || asked.Address != server.Address() || asked.Duration <= 0 ||
		asked.ReceivedBytes == 0 {
		t.Errorf("a call: %+v", asked)
	}
	_, _, err := client.Admin().GetTopic(testContext(t), "none")
	if err == nil {
		t.Fatal("there is a topic")
	}
	toldOf(t, w, func(e ropewalk.RequestDone) bool {
		return strings.HasSuffix(e.Method, "GetTopic") && errors.Is(e.Err, ropewalk.ReasonTopicNotFound)
	})

	produce(t, client, "t", "a", "b")
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"))
	expect(t, consumer, "a", "b")
	server.CutConnections()
	gone := anyOf[ropewalk.BrokerDisconnected](t, w)
	if gone.Address != server.Address() || gone.Duration <= 0 {
		t.Errorf("disconnected: %+v", gone)
	}
	toldOf(t, w, func(e ropewalk.StreamBroken) bool {
		return e.Kind == ropewalk.ConsumeStream && e.Failures == 1 && e.Err != nil
	})
	toldOf(t, w, func(e ropewalk.RequestDone) bool {
		return e.Stream && strings.HasSuffix(e.Method, "Subscribe") && e.Err != nil && e.ReceivedBytes > 0
	})
}

// Of what a producer still owes when its stream breaks, the hook is told how much.
func TestHooksAreToldOfProduceStreamsThatBreak(t *testing.T) {
	server, w := newServer(t), newWitness()
	client := dial(t, server.Address(), ropewalk.WithHooks(w))
	producer := newProducer(t, client)
	cut := false
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		if !cut {
			cut = true
			return &testserver.Fault{Cut: true}
		}
		return nil
	})
	if _, err := sendValue(t, producer, "a"); err != nil {
		t.Fatal(err)
	}
	toldOf(t, w, func(e ropewalk.StreamBroken) bool {
		return e.Kind == ropewalk.ProduceStream && e.Unanswered == 1 && e.Err != nil
	})
}

// A leader that is known and not there is told of.
func TestHooksAreToldOfUnreachableBrokers(t *testing.T) {
	servers, w := newCluster(t, 2), newWitness()
	client := dial(t, servers[0].Address(), ropewalk.WithHooks(w))
	produce(t, client, "t", "a")
	servers[1].Stop()
	if err := servers[0].Lead("t", 0, 2); err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	consumer := newConsumer(t, dial(t, servers[0].Address(), ropewalk.WithHooks(w)),
		ropewalk.WithPartition("t", 0, ropewalk.StartEarliest()))
	go func() { _, _ = consumer.Next(ctx) }()
	e := anyOf[ropewalk.BrokerUnreachable](t, w)
	if e.Broker != 2 || e.Address != servers[1].Address() || e.Err == nil {
		t.Errorf("unreachable: %+v", e)
	}
}

// What a member of a group gets, gives back and loses is told, and its gaps and commits.
func TestHooksAreToldOfGroups(t *testing.T) {
	w := newWitness()
	_, member, stream := scriptedFor(t, []ropewalk.ClientOption{ropewalk.WithHooks(w)},
		ropewalk.GroupManualCommit(), ropewalk.GroupGap(func(ropewalk.Gap) {}))
	stream.Send(assign(5, nil, map[int32]int64{0: 0, 1: 0}))
	stream.Send(batch(0, 0, 1))
	next(t, member, 0, 0)
	got := anyOf[assigned](t, w)
	if got.Group != "g" || got.Member != member.MemberID() || len(got.Positions) != 2 {
		t.Errorf("assigned: %+v", got)
	}
	if e := anyOf[ropewalk.BatchReceived](t, w); e.Group != "g" || e.Records != 1 {
		t.Errorf("received: %+v", e)
	}
	if e := anyOf[ropewalk.RecordsDelivered](t, w); e.Group != "g" || e.Records != 1 {
		t.Errorf("delivered: %+v", e)
	}
	if err := member.Commit(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if e := anyOf[ropewalk.CommitDone](t, w); e.Group != "g" || e.Member != member.MemberID() ||
		len(e.Offsets) != 2 || e.Err != nil {
		t.Errorf("committed: %+v", e)
	}
	stream.Send(&pb.Gap{Topic: "t", Partition: 1, FromOffset: 0, ToOffset: 7})
	stream.Send(batch(0, 1, 1))
	next(t, member, 0, 1)
	want := ropewalk.Gap{TopicPartition: ropewalk.TopicPartition{Topic: "t", Partition: 1}, To: 7}
	if e := anyOf[ropewalk.GapFound](t, w); e.Group != "g" || e.Gap != want {
		t.Errorf("gap: %+v", e)
	}
	stream.Send(assign(6, nil, nil, 1))
	stream.Send(batch(0, 2, 1))
	next(t, member, 0, 2)
	if e := anyOf[revoked](t, w); len(e.Positions) != 1 || e.Positions[0].Partition != 1 {
		t.Errorf("revoked: %+v", e)
	}
	stream.End(testserver.Status(codes.FailedPrecondition, "MEMBER_FENCED").Err())
	go func() { _, _ = member.Next(testContext(t)) }()
	toldOf(t, w, func(e lost) bool {
		return e.Member == "m" && len(e.Positions) == 1 && e.Positions[0].Partition == 0
	})
	toldOf(t, w, func(e ropewalk.StreamBroken) bool {
		return e.Kind == ropewalk.GroupStream && e.Group == "g"
	})
}

// A consumer's gap is told of too.
func TestHooksAreToldOfGaps(t *testing.T) {
	broker, w := ropewalktest.Start(t), newWitness()
	client := dial(t, broker.Address, ropewalk.WithHooks(w))
	produce(t, client, "holes", "a", "b", "c")
	_, err := client.Admin().DeleteRecords(testContext(t), "holes", map[int32]int64{0: 2})
	if err != nil {
		t.Fatal(err)
	}
	consumer := newConsumer(t, client, ropewalk.WithPartition("holes", 0, ropewalk.StartOffset(0)),
		ropewalk.WithGapHandler(func(ropewalk.Gap) {}))
	expect(t, consumer, "c")
	if e := anyOf[ropewalk.GapFound](t, w); e.From != 0 || e.To != 2 || e.Group != "" {
		t.Errorf("gap: %+v", e)
	}
}

// A hook that panics does no harm, and those after it are told.
func TestAHookThatPanicsDoesNoHarm(t *testing.T) {
	server, w := newServer(t), newWitness()
	var log lockedBuffer
	client, err := ropewalk.Dial(testContext(t), []string{server.Address()},
		ropewalk.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), ropewalk.WithHooks(panics{}, w))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := sendValue(t, newProducer(t, client), "a"); err != nil {
		t.Fatal(err)
	}
	anyOf[ropewalk.BatchAnswered](t, w)
	if text := log.String(); !strings.Contains(text, "a hook panicked") ||
		!strings.Contains(text, "at the answer") {
		t.Errorf("the log says %q", text)
	}
}

type panics struct{}

func (panics) OnBatchAnswered(ropewalk.BatchAnswered) { panic("at the answer") }

type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestWhatIsNoHookIsRefused(t *testing.T) {
	for _, hook := range []ropewalk.Hook{nil, 7, struct{}{}} {
		_, err := ropewalk.Dial(testContext(t), []string{"localhost:1"}, ropewalk.WithHooks(hook))
		if !errors.Is(err, ropewalk.ReasonInvalidField) || !strings.Contains(err.Error(), "hook 0") {
			t.Errorf("%v: %v", hook, err)
		}
	}
}
