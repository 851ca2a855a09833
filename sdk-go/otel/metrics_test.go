package otelropewalk_test

import (
	"context"
	"errors"
	"testing"

	"go.opentelemetry.io/otel/attribute"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	otelropewalk "github.com/ropewalk/ropewalk/sdk-go/otel"
)

// failures are the counts of records that failed, by why.
func (o *observed) failures(t *testing.T) map[string]int64 {
	t.Helper()
	counts := map[string]int64{}
	for _, point := range o.sum(t, "ropewalk.client.failed.messages") {
		why, _ := point.Attributes.Value("error.type")
		counts[why.AsString()] += point.Value
	}
	return counts
}

// In an outage most records fail without having been sent: they count, and not as sent.
func TestMetricsOfWhatIsNotSent(t *testing.T) {
	o := observe(t)
	held, release := make(chan struct{}, 1), make(chan struct{})
	o.server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		select {
		case held <- struct{}{}:
		default:
		}
		<-release
		return nil
	})
	producer := o.producer(t)
	send := func(want error) {
		t.Helper()
		if err := producer.SendAsync(bounded(t), order("", "v"), nil); !errors.Is(err, want) {
			t.Fatal(err)
		}
	}
	send(nil)
	<-held // the others wait behind it
	brief, cancel := context.WithCancel(bounded(t))
	gone := make(chan error, 1)
	go func() {
		_, err := producer.Send(brief, order("", "v"))
		gone <- err
	}()
	send(nil)
	send(nil)
	cancel()
	if err := <-gone; !errors.Is(err, ropewalk.ReasonCanceled) {
		t.Fatal(err)
	}
	producer.Purge()
	if _, err := producer.Send(bounded(t), order("", string(make([]byte, 2<<20)))); err == nil {
		t.Fatal("it is not too large")
	}
	close(release)
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	send(ropewalk.ReasonClosed)
	_, err := producer.Append(bounded(t), "orders", 0, []*ropewalk.Record{{}, {}})
	if !errors.Is(err, ropewalk.ReasonClosed) {
		t.Fatal(err)
	}
	// That one waited for longer than it may, is known by its try.
	o.OnBatchAnswered(ropewalk.BatchAnswered{
		BatchInfo: ropewalk.BatchInfo{Records: 5}, Err: ropewalk.ReasonTimedOut,
	})
	counts := o.failures(t)
	for why, want := range map[ropewalk.Reason]int64{
		ropewalk.ReasonCanceled: 1, ropewalk.ReasonPurged: 2, ropewalk.ReasonRecordTooLarge: 1,
		ropewalk.ReasonClosed: 3,
	} {
		if counts[string(why)] != want {
			t.Errorf("%s: %d, not %d", why, counts[string(why)], want)
		}
	}
	if sent := o.sum(t, "messaging.client.sent.messages"); len(sent) != 1 || sent[0].Value != 1 {
		t.Errorf("sent: %v", sent)
	}
}

// Partitions are told apart where that is asked for.
func TestMetricsOfPartitions(t *testing.T) {
	o := observe(t, otelropewalk.WithPartitions())
	for partition := range int32(3) {
		o.OnRecordsDelivered(ropewalk.RecordsDelivered{
			TopicPartition: ropewalk.TopicPartition{Topic: "orders", Partition: partition}, Records: 1,
		})
	}
	o.OnRecordsFailed(ropewalk.RecordsFailed{
		TopicPartition: ropewalk.TopicPartition{Topic: "orders", Partition: ropewalk.NoPartition},
		Records:        1, Err: ropewalk.ReasonClosed,
	})
	points := o.sum(t, "messaging.client.consumed.messages")
	if len(points) != 3 {
		t.Errorf("consumed: %v", points)
	}
	for _, point := range points {
		if !point.Attributes.HasValue("messaging.destination.partition.id") {
			t.Errorf("no partition in %s", point.Attributes.Encoded(attribute.DefaultEncoder()))
		}
	}
	if failed := o.sum(t, "ropewalk.client.failed.messages")[0]; failed.Attributes.HasValue(
		"messaging.destination.partition.id") {
		t.Error("a partition that is not known has a number")
	}
}

// What is told for each Next, and for each batch, costs nothing that is to be collected.
func TestMetricsMakeNothing(t *testing.T) {
	o := observe(t, otelropewalk.WithPartitions())
	at := ropewalk.TopicPartition{Topic: "orders", Partition: 7}
	closed := &ropewalk.Error{Reason: ropewalk.ReasonClosed}
	events := map[string]func(){
		"delivered": func() {
			o.OnRecordsDelivered(ropewalk.RecordsDelivered{TopicPartition: at, Group: "g", Records: 1})
		},
		"received": func() {
			o.OnBatchReceived(ropewalk.BatchReceived{TopicPartition: at, Group: "g", WireBytes: 9})
		},
		"answered": func() {
			o.OnBatchAnswered(ropewalk.BatchAnswered{
				BatchInfo: ropewalk.BatchInfo{TopicPartition: at, Records: 2, WireBytes: 9, Attempt: 1},
			})
		},
		"failed": func() {
			o.OnRecordsFailed(ropewalk.RecordsFailed{
				TopicPartition: at, Records: 1, Err: closed,
			})
		},
	}
	for what, event := range events {
		if n := testing.AllocsPerRun(1000, event); n > 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}
