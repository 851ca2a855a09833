// Package sarama is the API of the Kafka client of that name, on top of Ropewalk: a program written
// for it runs against Ropewalk after its import line is changed to
//
//	import "github.com/ropewalk/ropewalk/sdk-go/sarama"
//
// Names, types, defaults and behaviour are mirrored. What differs:
//
//   - No setting is ignored in silence. One that has no meaning here either changes nothing by its
//     nature, or Validate refuses it by name: the table below says what each does. Brokers have no
//     transactions and no authentication yet.
//   - With Producer.Retry.Max above 0, a batch is also sent again when its first try may have been
//     appended, as in sarama: without Producer.Idempotent a record whose answer was lost can be in
//     the log twice. With 0 nothing is sent twice.
//   - A partition has one batch under way at a time, whatever Net.MaxOpenRequests says. It must be
//     1 with Producer.Idempotent, as in sarama.
//   - RequiredAcks NoResponse still gives a true partition and offset: it waits for the broker's
//     memory, not for its disk.
//   - A message that is sent to an AsyncProducer after its end is dropped, with a line to Logger;
//     sarama panics. One that comes while it closes gets ErrShuttingDown.
//   - A partitioner or an encoder that panics under a PanicHandler fails its message, and the
//     producer goes on; with sarama the goroutine goes, and messages stay without an answer.
//   - What a consumer does not reach for a moment, as while a leader changes, is logged, and told
//     on Errors only when Metadata.Retry.Max more tries have failed.
//   - Close of a PartitionOffsetManager gives up after Consumer.Offsets.Retry.Max more tries;
//     sarama's waits for the Close of its OffsetManager.
//   - Interceptors of producers see a message once, also when it is sent again. Keys of headers are
//     UTF-8.
//   - A topic that does not exist is created by its first use where the broker allows that, unless
//     Metadata.AllowAutoTopicCreation is off.
//   - A member of a consumer group joins with the first Consume and stays one until Close, so that
//     a session that ends, and another that begins, move nothing in the group. Partitions that do
//     not move are not stopped by the group; a session ends all the same, as in sarama, unless the
//     strategy is cooperative. InitialOffset of a claim is always an offset, never OffsetNewest or
//     OffsetOldest. Strategies of the program's own plan for all members; the others are the
//     broker's.
//   - What was deleted before it was read is counted in the MetricRegistry, beside what sarama
//     does: consumer-gaps, and consumer-gap-messages for how many messages that were.
//   - Each partition that is read takes a call of a connection, of which a broker allows 1,000 by
//     default.
//   - A Client tells what is at most a second old. Every broker takes every request: requests of
//     Kafka's protocol, which sarama's Broker sends, are not there; nor is what answers them in
//     tests.
//   - A ClusterAdmin knows a topic's settings by Kafka's names, see [TopicDetail]. What Ropewalk
//     has no counterpart for returns ErrUnsupportedVersion: access control lists, quotas, SCRAM
//     users, log directories, features, transactions, settings of brokers, unclean elections.
//   - A version of Kafka changes no behaviour. It only has Validate refuse what sarama refuses.
//
// The package has no transport, batching or retries of its own: it is a thin layer over package
// ropewalk, which new programs should use directly.
package sarama
