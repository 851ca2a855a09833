package otelropewalk

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
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
	retries     metric.Int64Counter
	gaps        metric.Int64Counter
	failures    metric.Int64Counter
	changes     metric.Int64Counter
	connections metric.Int64UpDownCounter
}

func newMeters(m metric.Meter) (meters, error) {
	var errs [11]error
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
		"Records that were gone before they were read.")
	made.failures = counter(&errs[8], "ropewalk.client.stream.failures", "{stream}",
		"Streams that broke while they were in use.")
	made.changes = counter(&errs[9], "ropewalk.client.group.changes", "{partition}",
		"Partitions that a member of a consumer group got, was to give back, or lost.")
	made.connections, errs[10] = m.Int64UpDownCounter("ropewalk.client.connections",
		metric.WithUnit("{connection}"), metric.WithDescription("Connections to brokers that are open."))
	return made, errors.Join(errs[:]...)
}

// A series says which measurements belong together.
type series struct {
	operation, kind string
	topic           string
	partition       int32
	group           string
	failed          string
}

const noPartition = -1

// set returns the attributes of a series.
func (t *Telemetry) set(s series) attribute.Set {
	if known, ok := t.sets.Load(s); ok {
		return known.(attribute.Set)
	}
	list := []attribute.KeyValue{semconv.MessagingSystemKey.String(system)}
	add := func(key attribute.Key, value string) {
		if value != "" {
			list = append(list, key.String(value))
		}
	}
	add(semconv.MessagingOperationNameKey, s.operation)
	add(semconv.MessagingOperationTypeKey, s.kind)
	add(semconv.MessagingDestinationNameKey, s.topic)
	add(semconv.MessagingConsumerGroupNameKey, s.group)
	add(semconv.ErrorTypeKey, s.failed)
	if s.partition != noPartition {
		add(semconv.MessagingDestinationPartitionIDKey, strconv.Itoa(int(s.partition)))
	}
	made := attribute.NewSet(list...)
	t.sets.Store(s, made)
	return made
}

func failed(err error) string {
	if err == nil {
		return ""
	}
	return errorType(err).Value.AsString()
}

// OnBatchAnswered counts what was sent. The client calls it.
func (t *Telemetry) OnBatchAnswered(e ropewalk.BatchAnswered) {
	ctx := context.Background()
	s := series{operation: "send", topic: e.Topic, partition: e.Partition, failed: failed(e.Err)}
	t.meters.sent.AddSet(ctx, int64(e.Records), t.set(s))
	s.kind = "send"
	t.meters.operations.RecordSet(ctx, e.Duration.Seconds(), t.set(s))
	if e.Err == nil {
		t.meters.sentBytes.Add(ctx, int64(e.WireBytes),
			t.of(series{topic: e.Topic, partition: e.Partition}))
	}
}

// of is what gives a measurement the attributes of a series.
func (t *Telemetry) of(s series) metric.MeasurementOption {
	return metric.WithAttributeSet(t.set(s))
}

// OnBatchRetried counts retries. The client calls it.
func (t *Telemetry) OnBatchRetried(e ropewalk.BatchRetried) {
	t.meters.retries.Add(context.Background(), 1,
		t.of(series{topic: e.Topic, partition: e.Partition, failed: failed(e.Err)}))
}

// OnBatchReceived counts bytes. The client calls it.
func (t *Telemetry) OnBatchReceived(e ropewalk.BatchReceived) {
	t.meters.gotBytes.Add(context.Background(), int64(e.WireBytes),
		t.of(series{topic: e.Topic, partition: e.Partition, group: e.Group}))
}

// OnRecordsDelivered counts what was handed out. The client calls it.
func (t *Telemetry) OnRecordsDelivered(e ropewalk.RecordsDelivered) {
	t.meters.consumed.AddSet(context.Background(), int64(e.Records), t.set(series{
		operation: "receive", topic: e.Topic, partition: e.Partition, group: e.Group,
	}))
}

// OnGapFound counts what is gone. The client calls it.
func (t *Telemetry) OnGapFound(e ropewalk.GapFound) {
	t.meters.gaps.Add(context.Background(), e.To-e.From,
		t.of(series{topic: e.Topic, partition: e.Partition, group: e.Group}))
}

// OnStreamBroken counts streams that broke. The client calls it.
func (t *Telemetry) OnStreamBroken(e ropewalk.StreamBroken) {
	t.meters.failures.Add(context.Background(), 1,
		t.of(series{partition: noPartition, group: e.Group, failed: failed(e.Err)}),
		metric.WithAttributes(attribute.String("ropewalk.stream", e.Kind.String())))
}

// OnCommitDone measures commits. The client calls it.
func (t *Telemetry) OnCommitDone(e ropewalk.CommitDone) {
	t.meters.operations.RecordSet(context.Background(), e.Duration.Seconds(), t.set(series{
		operation: "commit", kind: "settle", partition: noPartition,
		group: e.Group, failed: failed(e.Err),
	}))
}

// OnGroupAssigned counts partitions that were got. The client calls it.
func (t *Telemetry) OnGroupAssigned(e ropewalk.GroupChange) { t.changed("assigned", e) }

// OnGroupRevoked counts partitions that are to be given back. The client calls it.
func (t *Telemetry) OnGroupRevoked(e ropewalk.GroupChange) { t.changed("revoked", e) }

// OnGroupLost counts partitions that were lost. The client calls it.
func (t *Telemetry) OnGroupLost(e ropewalk.GroupChange) { t.changed("lost", e) }

func (t *Telemetry) changed(how string, e ropewalk.GroupChange) {
	t.meters.changes.Add(context.Background(), int64(len(e.Positions)),
		t.of(series{partition: noPartition, group: e.Group}),
		metric.WithAttributes(attribute.String("ropewalk.change", how)))
}

// OnBrokerConnected counts connections. The client calls it.
func (t *Telemetry) OnBrokerConnected(ropewalk.BrokerConnected) { t.connections(1) }

// OnBrokerDisconnected counts connections. The client calls it.
func (t *Telemetry) OnBrokerDisconnected(ropewalk.BrokerDisconnected) { t.connections(-1) }

func (t *Telemetry) connections(n int64) {
	t.meters.connections.Add(context.Background(), n, t.of(series{partition: noPartition}))
}

// processed measures what a program does with a record.
func (t *Telemetry) processed(
	ctx context.Context, r *ropewalk.Record, took time.Duration, err error,
) {
	t.meters.processes.RecordSet(ctx, took.Seconds(), t.set(series{
		operation: "process", topic: r.Topic, partition: r.Partition, group: t.config.group,
		failed: failed(err),
	}))
}
