package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// notes is what interceptors write down.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) write(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	lines := n.lines
	n.lines = nil
	return lines
}

func (n *notes) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := n.take(); !slices.Equal(got, want) {
		t.Errorf("they wrote %q, want %q", got, want)
	}
}

// interceptor writes to notes under a name, which it also adds to the header "via".
type interceptor struct {
	*notes
	name string
}

func (i interceptor) OnSend(_ context.Context, r *ropewalk.Record) func(ropewalk.Ack, error) {
	value := string(r.Value)
	i.write("%s sends %s", i.name, value)
	r.Headers = append(r.Headers, ropewalk.Header{Key: "via", Value: []byte(i.name)})
	r.Topic, r.Partition, r.Value = "elsewhere", 7, nil // none of it counts
	return func(ack ropewalk.Ack, err error) {
		var e *ropewalk.Error
		switch {
		case errors.As(err, &e):
			i.write("%s has sent %s: %s %s", i.name, value, e.Reason, e.Appended())
		default:
			i.write("%s has sent %s: %d", i.name, value, ack.Offset)
		}
	}
}

func (i interceptor) OnReceive(_ context.Context, r *ropewalk.Record) {
	i.write("%s receives %s", i.name, r.Value)
}

func headers(r *ropewalk.Record) string {
	var list []string
	for _, h := range r.Headers {
		list = append(list, h.Key+"="+string(h.Value))
	}
	return strings.Join(list, " ")
}

func TestInterceptorsAreCalledInTheirOrder(t *testing.T) {
	client := dial(t, newServer(t).Address())
	var n notes
	first, second := interceptor{&n, "first"}, interceptor{&n, "second"}
	producer := newProducer(t, client, ropewalk.WithSendInterceptor(first, second))
	record := &ropewalk.Record{
		Topic: "t", Value: []byte("a"), Headers: []ropewalk.Header{{Key: "own", Value: []byte("1")}},
	}
	for offset := range 2 {
		if _, err := producer.Send(testContext(t), record); err != nil {
			t.Fatal(err)
		}
		n.expect(t, "first sends a", "second sends a",
			fmt.Sprintf("first has sent a: %d", offset), fmt.Sprintf("second has sent a: %d", offset))
	}
	if got := headers(record); got != "own=1" || record.Topic != "t" {
		t.Errorf("the caller's record was changed: %s %s", record.Topic, got)
	}
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"),
		ropewalk.WithReceiveInterceptor(first), ropewalk.WithReceiveInterceptor(second))
	for _, read := range expect(t, consumer, "a", "a") {
		if got := headers(read); got != "own=1 via=first via=second" {
			t.Errorf("the headers are %s", got)
		}
	}
	seen := []string{"first receives a", "second receives a"}
	n.expect(t, slices.Concat(seen, seen)...)
}

// However often a record is sent, and whatever becomes of it, each interceptor is told once, before its
// caller is.
func TestInterceptorsAreToldTheOutcomeOnce(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	var n notes
	producer := newProducer(t, client, ropewalk.WithSendInterceptor(interceptor{&n, "it"}),
		ropewalk.WithRetryBackoff(func(int) time.Duration { return time.Millisecond }))
	faults := []*testserver.Fault{
		{Status: testserver.Status(codes.Unavailable, "NO_LEADER")},
		{Append: true, Status: testserver.Status(codes.Unavailable, "LEADER_CHANGED")},
		{Append: true, Cut: true},
	}
	server.OnProduce(func(r *pb.ProduceRequest) *testserver.Fault {
		if h := r.GetRecords().GetRecords()[0].GetHeaders(); len(h) != 1 {
			t.Errorf("%d headers, want 1", len(h))
		}
		if len(faults) == 0 {
			return nil
		}
		fault := faults[0]
		faults = faults[1:]
		return fault
	})
	if _, err := sendValue(t, producer, "a"); err != nil {
		t.Fatal(err)
	}
	n.expect(t, "it sends a", "it has sent a: 0")

	record := &ropewalk.Record{Topic: "t", Value: []byte("b")}
	done := make(chan error, 1)
	err := producer.SendAsync(testContext(t), record, func(r *ropewalk.Record, _ ropewalk.Ack, err error) {
		n.write("done")
		if r != record {
			t.Error("done has another record than the caller's")
		}
		done <- err
	})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	n.expect(t, "it sends b", "it has sent b: 1", "done")

	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		return &testserver.Fault{Status: testserver.Status(codes.InvalidArgument, "CORRUPT_BATCH")}
	})
	if _, err := sendValue(t, producer, "c"); err == nil {
		t.Fatal("it was appended")
	}
	n.expect(t, "it sends c", "it has sent c: CORRUPT_BATCH no")

	server.OnProduce(nil)
	for range 3 {
		if err := producer.SendAsync(testContext(t), record, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	told := n.take()
	slices.Sort(told)
	want := []string{"it has sent b: 2", "it has sent b: 3", "it has sent b: 4",
		"it sends b", "it sends b", "it sends b"}
	if !slices.Equal(told, want) {
		t.Errorf("closing told %q", told)
	}
	if _, err := sendValue(t, producer, "late"); err == nil {
		t.Fatal("it was sent")
	}
	n.expect(t, "it sends late", "it has sent late: CLIENT_CLOSED no")
}

// A caller that gives up while its record waits has it taken back; of one that is under way, the outcome
// comes when it is known.
func TestInterceptorsAreToldOfCallersThatGiveUp(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	arrived, release := holdAnswers(server)
	var n notes
	producer := newProducer(t, client, ropewalk.WithSendInterceptor(interceptor{&n, "it"}))
	under, giveUp := context.WithCancel(testContext(t))
	// Time enough to be in line behind the other.
	waiting, takeBack := context.WithTimeout(testContext(t), 300*time.Millisecond)
	defer takeBack()
	var senders sync.WaitGroup
	send := func(ctx context.Context, value string) {
		senders.Go(func() {
			_, err := producer.Send(ctx, &ropewalk.Record{Topic: "t", Value: []byte(value)})
			n.write("the caller of %s knows: %t", value, errors.Is(err, ropewalk.ReasonCanceled))
		})
	}
	send(under, "a")
	<-arrived
	giveUp()
	senders.Wait()
	n.expect(t, "it sends a", "the caller of a knows: true")
	send(waiting, "b")
	senders.Wait()
	n.expect(t, "it sends b", "it has sent b: CLIENT_CANCELED no", "the caller of b knows: true")
	close(release)
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	n.expect(t, "it has sent a: 0")
}

func TestInterceptorsSeeAppends(t *testing.T) {
	client := dial(t, newServer(t).Address())
	var n notes
	producer := newProducer(t, client, ropewalk.WithSendInterceptor(interceptor{&n, "it"}))
	records := []*ropewalk.Record{{Value: []byte("a")}, {Value: []byte("b")}}
	if _, err := producer.Append(testContext(t), "t", 0, records); err != nil {
		t.Fatal(err)
	}
	n.expect(t, "it sends a", "it sends b", "it has sent a: 0", "it has sent b: 1")
	if _, err := producer.Append(testContext(t), "t", 0, records[:1], ropewalk.IfOffset(0)); err == nil {
		t.Fatal("it was appended")
	}
	n.expect(t, "it sends a", "it has sent a: EXPECTED_OFFSET_MISMATCH no")
	for _, read := range expect(t, newConsumer(t, client, ropewalk.WithTopics("t")), "a", "b") {
		if got := headers(read); got != "via=it" {
			t.Errorf("the headers are %s", got)
		}
	}
}

// One that panics harms neither the record nor the others.
func TestInterceptorsMayPanic(t *testing.T) {
	client := dial(t, newServer(t).Address())
	var n notes
	broken := ropewalk.SendInterceptorFunc(
		func(_ context.Context, r *ropewalk.Record) func(ropewalk.Ack, error) {
			r.Headers = append(r.Headers, ropewalk.Header{Key: "via", Value: []byte("broken")})
			if string(r.Value) == "a" {
				panic("at sending")
			}
			return func(ropewalk.Ack, error) { panic("at the outcome") }
		})
	producer := newProducer(t, client, ropewalk.WithSendInterceptor(broken, interceptor{&n, "it"}))
	for offset, value := range []string{"a", "b"} {
		if ack, err := sendValue(t, producer, value); err != nil || ack.Offset != int64(offset) {
			t.Fatal(ack, err)
		}
		n.expect(t, "it sends "+value, fmt.Sprintf("it has sent %s: %d", value, offset))
	}
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"), ropewalk.WithReceiveInterceptor(
		ropewalk.ReceiveInterceptorFunc(func(context.Context, *ropewalk.Record) { panic("at receiving") }),
		interceptor{&n, "it"}))
	for _, read := range expect(t, consumer, "a", "b") {
		if got := headers(read); got != "via=broken via=it" {
			t.Errorf("the headers are %s", got)
		}
	}
	n.expect(t, "it receives a", "it receives b")
}

// Poll hands out what Next would, and a member of a group is a consumer.
func TestInterceptorsSeeWhatIsPolledOnce(t *testing.T) {
	var n notes
	_, member, stream := scripted(t, ropewalk.GroupReceiveInterceptor(interceptor{&n, "member"}))
	stream.Send(assign(5, nil, map[int32]int64{0: 0}))
	stream.Send(batch(0, 0, 3))
	next(t, member, 0, 0)
	n.expect(t, "member receives x")
	if records, err := member.Poll(testContext(t)); err != nil || len(records) != 2 {
		t.Fatal(records, err)
	}
	n.expect(t, "member receives x", "member receives x")

	client := dial(t, newServer(t).Address())
	produce(t, client, "t", "a", "b")
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"),
		ropewalk.WithReceiveInterceptor(interceptor{&n, "it"}))
	expect(t, consumer, "a")
	n.expect(t, "it receives a")
	if records, err := consumer.Poll(testContext(t)); err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	n.expect(t, "it receives b")
}

// Each call that hands out records is seen once, with all of them and since when it waited.
func TestDeliveryInterceptorsSeeCalls(t *testing.T) {
	var n notes
	see := ropewalk.DeliveryInterceptorFunc(func(_ context.Context, d ropewalk.Delivery) {
		if since := time.Since(d.Began); since < 0 || since > time.Hour {
			t.Errorf("it began %v ago", since)
		}
		n.write("%d for %q from %d", len(d.Records), d.Group, d.Records[0].Offset)
	})
	broken := ropewalk.DeliveryInterceptorFunc(func(context.Context, ropewalk.Delivery) {
		panic("at a delivery")
	})
	_, member, stream := scripted(t, ropewalk.GroupDeliveryInterceptor(broken, see))
	stream.Send(assign(5, nil, map[int32]int64{0: 0}))
	stream.Send(batch(0, 0, 3))
	next(t, member, 0, 0)
	if records, err := member.Poll(testContext(t)); err != nil || len(records) != 2 {
		t.Fatal(records, err)
	}
	n.expect(t, `1 for "g" from 0`, `2 for "g" from 1`)

	client := dial(t, newServer(t).Address())
	produce(t, client, "t", "a", "b")
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"),
		ropewalk.WithDeliveryInterceptor(broken, see))
	expect(t, consumer, "a", "b")
	n.expect(t, `1 for "" from 0`, `1 for "" from 1`)

	_, err := client.NewConsumer(testContext(t), ropewalk.WithTopics("t"),
		ropewalk.WithDeliveryInterceptor(nil))
	if !errors.Is(err, ropewalk.ReasonInvalidField) {
		t.Errorf("a consumer: %v", err)
	}
	for _, option := range []ropewalk.GroupOption{
		ropewalk.GroupDeliveryInterceptor(nil), ropewalk.GroupAutoCommit(0),
		ropewalk.GroupAutoCommit(-time.Second),
	} {
		_, err = client.JoinGroup(testContext(t), "g", ropewalk.GroupTopics("t"), option)
		if !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("a member: %v", err)
		}
	}
}

func TestNilInterceptorsAreRefused(t *testing.T) {
	client := dial(t, newServer(t).Address())
	ctx := testContext(t)
	_, err := client.NewProducer(ropewalk.WithSendInterceptor(nil))
	if !errors.Is(err, ropewalk.ReasonInvalidField) {
		t.Errorf("a producer: %v", err)
	}
	_, err = client.NewConsumer(ctx, ropewalk.WithTopics("t"), ropewalk.WithReceiveInterceptor(nil))
	if !errors.Is(err, ropewalk.ReasonInvalidField) {
		t.Errorf("a consumer: %v", err)
	}
	_, err = client.JoinGroup(ctx, "g", ropewalk.GroupTopics("t"), ropewalk.GroupReceiveInterceptor(nil))
	if !errors.Is(err, ropewalk.ReasonInvalidField) {
		t.Errorf("a member: %v", err)
	}
}
