// Package ropewalk is the Go client of Ropewalk, a gRPC-native message service with the model of
// Kafka: topics, partitions, offsets and replicas behind a plain protobuf API.
//
// A [Client] is the connection. From it come a [Producer], which appends records and says where
// they went, a [Consumer], which reads them, a [GroupConsumer], which reads them as a member of a
// consumer group, and an [Admin], which manages topics and groups. Every call that can wait takes a
// context, but for Close, which says how long it may take: Shutdown is Close with a context.
// Everything that runs in the background ends with it.
//
//	client, err := ropewalk.Dial(ctx, []string{"localhost:9092"})
//	producer, err := client.NewProducer()
//	ack, err := producer.Send(ctx, &ropewalk.Record{Topic: "events", Value: []byte("hello")})
//
// # Delivery
//
// A record is answered when it has the [Durability] that the producer asked for; the default is a
// majority of the replicas, with the record on disk. The producer retries by itself, also what may
// have been appended (a connection that broke with the request sent, a lost quorum): it is
// idempotent, so that such a record is in the log once. With [WithoutIdempotence], or less than a
// quorum, it is returned to the caller instead, or sent again with [WithRetryMaybe], at the risk of
// doubles. The order of the records of a partition is kept over retries.
//
// A consumer reconnects by itself and goes on at the next offset. Records that retention took
// before they were read are reported as a [Gap], never skipped in silence.
//
// # Consumer groups
//
// The members of a consumer group share the partitions of its topics. [Client.JoinGroup] makes a
// [GroupConsumer], which is read as a Consumer is:
//
//	member, err := client.JoinGroup(ctx, "billing", ropewalk.GroupTopics("orders"))
//	for record, err := range member.Records(ctx) {
//
// What was handed out is committed by itself, before a partition goes to another member too; with
// [GroupManualCommit] the program commits. A program that reads each partition with a consumer of its
// own, as its records take long, has the member told what it has and sent nothing of it: it gives
// [GroupAssignmentsOnly], and runs [GroupConsumer.Serve].
//
// # Connections
//
// A client has one connection to the broker that it reached, and in a cluster one to each that
// leads something it writes or reads. Consumers, members of groups and producers have a stream
// each, and share these with calls. Brokers bound how many calls are open at a time on a
// connection, to 1,000 by default: when streams have half of that, or 500, further connections are
// made for more of them, so that no call waits behind streams. One [Consumer] can read any number
// of partitions over its one stream; a consumer for each is for programs in which a slow one is to
// hold up no other.
//
// # Errors
//
// Every error is an [*Error], with the gRPC status, the reason that the broker gave, and what may
// be concluded from it. Reasons can be asked for with errors.Is:
//
//	if errors.Is(err, ropewalk.ReasonTopicNotFound) { ... }
//
// # Values
//
// Records carry bytes. A [Codec], as [JSON], [Proto] or one of the program's own, turns values into
// them and back: with [Encode] and [Decode], for a topic with a [TypedProducer], and in a loop with
// [Values].
//
// # Seeing what it does
//
// [WithHooks] tells of connections, calls, batches and groups, [WithSendInterceptor] and
// [WithReceiveInterceptor] of each record, [WithDeliveryInterceptor] of each call that hands out
// records, and [WithLogger] of what the client mends by itself. The
// module in the folder otel has spans and metrics of OpenTelemetry.
//
// Programs written for sarama find its API in the package sarama of this module. MIGRATION.md has
// its calls, and those of confluent-kafka-go, beside those of this package.
package ropewalk
