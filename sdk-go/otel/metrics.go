package otelropewalk

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Bounds are the buckets that the conventions have for durations, in seconds.
var bounds = metric.WithExplicitBucketBoundaries(
	0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

// meters are the instruments.
type meters struct {
	sent        messagingconv.ClientSentMessages
	consumed    messagingconv.ClientConsumedMessages
	operations  messagingconv.ClientOperationDuration
	processes   messagingconv.ProcessDuration
	sentBytes   metric.Int64Counter
	gotBytes    metric.Int64Counter
	failed      metric.Int64Counter
	retries     metric.Int64Counter
	gaps        metric.Int64Counter
	failures    metric.Int64Counter
	changes     metric.Int64Counter
	connections metric.Int64UpDownCounter
}

func newMeters(m metric.Meter) (meters, error) {
	var errs [12]error
	counter := func(err *error, name, unit, description string) metric.Int64Counter {
		c, e := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		*err = e
		return c
	}
	var made meters
	made.sent, errs[0] = messagingconv.NewClientSentMessages(m)
	made.consumed, errs[1] = messagingconv.NewClientConsumedMessages(m)
	made.operations, errs[2] = messagingconv.NewClientOperationDuration(m, bounds)
	made.processes, errs[3] = messagingconv.NewProcessDuration(m, bounds)
	made.sentBytes = counter(&errs[4], "ropewalk.client.sent.bytes", "By",
		"Bytes of the batches that were sent, as they are on the wire.")
	made.gotBytes = counter(&errs[5], "ropewalk.client.received.bytes", "By",
		"Bytes of the batches that were received, as they are on the wire.")
	made.retries = counter(&errs[6], "ropewalk.client.batch.retries", "{batch}",
		"Batches that were sent again.")
	made.gaps = counter(&errs[7], "ropewalk.client.gap.messages", "{message}",
		"Offsets that were gone before they were read.")
	made.failures = counter(&errs[8], "ropewalk.client.stream.failures", "{stream}",
		"Streams that broke while they were in use.")
	made.changes = counter(&errs[9], "ropewalk.client.group.changes", "{partition}",
		"Partitions that a member of a consumer group got, was to give back, lost, or left with.")
	made.connections, errs[10] = m.Int64UpDownCounter("ropewalk.client.connections",
		metric.WithUnit("{connection}"), metric.WithDescription("Connections to brokers that are open."))
	made.failed = counter(&errs[11], "ropewalk.client.failed.messages", "{message}",
		"Records that failed, whether they were sent or not.")
	return made, errors.Join(errs[:]...)
}

func failed(err error) string {
	if err == nil {
		return ""
	}
	return errorType(err).Value.AsString()
}

// of is what a measurement needs that has the attributes of a series.
func (t *Telemetry) of(s series) *measured {
	if !t.config.partitions {
		s.partition = noPartition
	}
	return t.series.of(s)
}

// count adds to a counter.
func (t *Telemetry) count(c metric.Int64Counter, n int64, s series) {
	if ctx := context.Background(); c.Enabled(ctx) {
		c.Add(ctx, n, t.of(s).add...)
	}
}

// took records a duration.
func (t *Telemetry) took(
	ctx context.Context, h metric.Float64Histogram, d time.Duration, s series,
) {
	if h.Enabled(ctx) {
		h.Record(ctx, d.Seconds(), t.of(s).record...)
	}
}

// OnBatchAnswered counts what was sent, and what failed. The client calls it.
func (t *Telemetry) OnBatchAnswered(e ropewalk.BatchAnswered) {
	place := series{topic: e.Topic, partition: e.Partition}
	s := place
	s.operation, s.failed = "send", failed(e.Err)
	if e.Err != nil {
		t.count(t.meters.failed, int64(e.Records), s)
	} else {
		t.count(t.meters.sentBytes, int64(e.WireBytes), place)
	}
	s.server = e.Address
	if e.Attempt > 0 { // else nothing of it was sent
		t.count(t.meters.sent.Inst(), int64(e.Records), s)
	}
	s.kind = "send"
	t.took(context.Background(), t.meters.operations.Inst(), e.Duration, s)
}

// OnRecordsFailed counts what failed without having been sent. The client calls it.
func (t *Telemetry) OnRecordsFailed(e ropewalk.RecordsFailed) {
	t.count(t.meters.failed, int64(e.Records), series{
		operation: "send", topic: e.Topic, partition: e.Partition, failed: failed(e.Err),
	})
}

// OnBatchRetried counts retries. The client calls it.
func (t *Telemetry) OnBatchRetried(e ropewalk.BatchRetried) {
	t.count(t.meters.retries, 1,
		series{topic: e.Topic, partition: e.Partition, failed: failed(e.Err)})
}

// OnBatchReceived counts bytes. The client calls it.
func (t *Telemetry) OnBatchReceived(e ropewalk.BatchReceived) {
	t.count(t.meters.gotBytes, int64(e.WireBytes),
		series{topic: e.Topic, partition: e.Partition, group: e.Group})
}

// OnRecordsDelivered counts what was handed out. The client calls it.
func (t *Telemetry) OnRecordsDelivered(e ropewalk.RecordsDelivered) {
	t.count(t.meters.consumed.Inst(), int64(e.Records), series{
		operation: "receive", topic: e.Topic, partition: e.Partition, group: e.Group,
		server: e.Address,
	})
}

// OnGapFound counts the offsets that are gone. The client calls it.
func (t *Telemetry) OnGapFound(e ropewalk.GapFound) {
	t.count(t.meters.gaps, e.To-e.From,
		series{topic: e.Topic, partition: e.Partition, group: e.Group})
}

// OnStreamBroken counts streams that broke. The client calls it.
func (t *Telemetry) OnStreamBroken(e ropewalk.StreamBroken) {
	t.count(t.meters.failures, 1, series{
		partition: noPartition, group: e.Group, failed: failed(e.Err), stream: e.Kind.String(),
	})
}

// OnCommitDone measures commits, and makes a span of each. The client calls it.
func (t *Telemetry) OnCommitDone(e ropewalk.CommitDone) {
	if e.Context == nil {
		e.Context = context.Background()
	}
	t.settled(e)
	t.took(e.Context, t.meters.operations.Inst(), e.Duration, series{
		operation: "commit", kind: "settle", partition: noPartition,
		group: e.Group, server: e.Address, failed: failed(e.Err),
	})
}

// OnGroupAssigned counts partitions that were got. The client calls it.
func (t *Telemetry) OnGroupAssigned(e ropewalk.GroupChange) { t.changed("assigned", e) }

// OnGroupRevoked counts partitions that are to be given back. The client calls it.
func (t *Telemetry) OnGroupRevoked(e ropewalk.GroupChange) { t.changed("revoked", e) }

// OnGroupLost counts partitions that were lost. The client calls it.
func (t *Telemetry) OnGroupLost(e ropewalk.GroupChange) { t.changed("lost", e) }

// OnGroupLeft counts partitions that a member has left with. The client calls it.
func (t *Telemetry) OnGroupLeft(e ropewalk.GroupChange) { t.changed("left", e) }

func (t *Telemetry) changed(how string, e ropewalk.GroupChange) {
	t.count(t.meters.changes, int64(len(e.Positions)),
		series{partition: noPartition, group: e.Group, change: how})
}

// OnBrokerConnected counts connections, and learns what the client calls itself. The client calls
// it.
func (t *Telemetry) OnBrokerConnected(e ropewalk.BrokerConnected) {
	t.client.note(e.ClientID)
	t.connections(1)
}

// OnBrokerDisconnected counts connections. The client calls it.
func (t *Telemetry) OnBrokerDisconnected(ropewalk.BrokerDisconnected) { t.connections(-1) }

func (t *Telemetry) connections(n int64) {
	t.meters.connections.Add(context.Background(), n, t.of(series{partition: noPartition}).add...)
}
