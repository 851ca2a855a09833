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
//	for record, err := range member.Records(ctx) {
//		err = telemetry.Process(ctx, record, func(ctx context.Context) error { ... })
//	}
//
// # Spans
//
// As an interceptor of a producer it makes a span "send TOPIC" for each record, from when it is
// handed over until it is answered. Its context travels in the record's headers, in the form of W3C
// Trace Context, with the baggage. Process makes a span "process TOPIC" around what a program does
// with a record. It is linked to the one that sent the record, and its parent is the span that the
// program is in: many records may be worked on in one. As an interceptor of a consumer it makes a
// span "receive TOPIC" for each record that is handed out, linked in the same way, for programs
// that do not use Process.
//
// # Metrics
//
// As a hook of a client it counts batches, and not each record:
//
//   - messaging.client.sent.messages: records that were to be sent, with error.type where that
//     failed.
//   - messaging.client.consumed.messages: records that were handed out.
//   - messaging.client.operation.duration: of send, from when the oldest record of a batch was
//     handed over until the batch was answered; and of commit. Records are received over streams,
//     of which none is an operation.
//   - ropewalk.client.sent.bytes, ropewalk.client.received.bytes: of batches, as they are on the
//     wire.
//   - ropewalk.client.batch.retries: batches that were sent again.
//   - ropewalk.client.gap.messages: records that were gone before they were read.
//   - ropewalk.client.stream.failures: streams that broke, by ropewalk.stream.
//   - ropewalk.client.group.changes: partitions that a member of a group got, was to give back, or
//     lost, by ropewalk.change.
//   - ropewalk.client.connections: connections that are open.
//
// Process measures messaging.process.duration.
//
// # Attributes
//
// Those of the conventions: messaging.system is ropewalk; messaging.operation.name and .type,
// messaging.destination.name, messaging.destination.partition.id, messaging.consumer.group.name,
// messaging.message.body.size and error.type, which is the reason of a [ropewalk.Error]. Those that
// the conventions have for Kafka alone stand under our name: messaging.ropewalk.offset,
// messaging.ropewalk.message.key and messaging.ropewalk.message.tombstone. A view of the SDK takes
// away what is too much, as the partitions.
package otelropewalk
