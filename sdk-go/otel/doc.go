// Package otelropewalk has programs with the Go client of Ropewalk report to OpenTelemetry, by the
// semantic conventions for messaging. It is a module of its own, so that the client needs nothing
// of OpenTelemetry:
//
//	go get github.com/ropewalk/ropewalk/sdk-go/otel
//
// One [Telemetry] serves a client and what comes from it:
//
//	telemetry, err := otelropewalk.New()
//	client, err := ropewalk.Dial(ctx, addresses, ropewalk.WithHooks(telemetry))
//	producer, err := client.NewProducer(ropewalk.WithSendInterceptor(telemetry))
//	member, err := client.JoinGroup(ctx, "billing", ropewalk.GroupTopics("orders"))
//	billing := telemetry.ForGroup("billing")
//	for record, err := range member.Records(ctx) {
//		err = billing.Process(ctx, record, func(ctx context.Context) error { ... })
//	}
//
// # Spans
//
// As an interceptor of a producer it makes a span "send TOPIC" for each record, from when it is
// handed over until it is answered. Its context travels in the record's headers, in the form of W3C
// Trace Context, with the baggage; a record that is passed on has nothing more of the trace and the
// baggage that it came with. Process makes a span "process TOPIC" around what a program does with a
// record. It is linked to the one that sent the record, and its parent is the span that the program
// is in: many records may be worked on in one. ProcessBatch does it for the records of a Poll, in one
// span, with a link for each record.
//
// As an interceptor of a consumer ([ropewalk.WithDeliveryInterceptor], and
// [ropewalk.GroupDeliveryInterceptor] for a member of a group) it makes a span "receive TOPIC" for
// each call that hands out records, from when the call began, with a link for each record and
// messaging.batch.message_count: one for each Poll, or for each Next. A span has 128 links at most.
// As a hook it makes a span "commit TOPIC" for each commit, within the span of whoever commits.
//
// # Metrics
//
// As a hook of a client it counts batches, and not each record:
//
//   - messaging.client.sent.messages: records that were tried to send, with error.type where that
//     failed in the end.
//   - ropewalk.client.failed.messages: records that failed, by error.type. In an outage these are
//     more: also those that were never sent, as they were refused (too large, no such topic, closed),
//     waited for too long for memory or their turn, or were given up. A sender that gives up while
//     its record is under way is told an error that is not counted: the record may be in the log.
//   - messaging.client.consumed.messages: records that were handed out.
//   - messaging.client.operation.duration: of send, from when the oldest record of a batch was
//     handed over until the batch was answered; and of commit. Records are received over streams,
//     of which none is an operation.
//   - ropewalk.client.sent.bytes, ropewalk.client.received.bytes: of batches, as they are on the
//     wire.
//   - ropewalk.client.batch.retries: batches that were sent again.
//   - ropewalk.client.gap.messages: offsets that were gone before they were read: as many records,
//     unless compaction had removed some of them before.
//   - ropewalk.client.stream.failures: streams that broke, by ropewalk.stream.
//   - ropewalk.client.group.changes: partitions that a member of a group got, was to give back, lost,
//     or left the group with, by ropewalk.change: assigned, revoked, lost, left.
//   - ropewalk.client.connections: connections that are open.
//
// Process and ProcessBatch measure messaging.process.duration.
//
// # Attributes
//
// Those of the conventions: messaging.system is ropewalk; messaging.operation.name and .type,
// messaging.destination.name, messaging.destination.partition.id (in metrics with [WithPartitions]
// only), messaging.consumer.group.name, messaging.message.body.size and error.type, which is the
// reason of a [ropewalk.Error].
//
// server.address and server.port are the broker that answered: on spans of sends that worked, of
// receiving and of commits, and on messaging.client.sent.messages,
// messaging.client.consumed.messages and messaging.client.operation.duration. It is the address at
// which the broker was dialed, as the program gave it or the cluster tells it; the leader, or one
// that forwards to it. Process knows the records alone, and names none.
//
// messaging.client.id, on spans, is what the client calls itself ([ropewalk.WithClientID]). The
// hook learns it. Where one Telemetry serves clients with several names it is left out: nothing
// tells of a record which of them has it.
//
// Those that the conventions have for Kafka alone stand under our name:
// messaging.ropewalk.offset, messaging.ropewalk.message.key (its first 256 bytes, where it is UTF-8)
// and messaging.ropewalk.message.tombstone. A view of the SDK takes away what is too much.
//
// The group of a member is known where the client tells of it. Process and ProcessBatch are given
// records alone: [Telemetry.ForGroup] says whose they are.
package otelropewalk
