// Package sarama is the API of the Kafka client of that name, on top of Ropewalk: a program written
// for it runs against Ropewalk after its import line is changed to
//
//	import "github.com/ropewalk/ropewalk/sdk-go/sarama"
//
// Names, types, defaults and behaviour are mirrored. What differs:
//
//   - [Config] holds the settings that act here, and no others: a program that sets one that would
//     do nothing does not compile, rather than being ignored.
//   - With Producer.Retry.Max above 0, a batch is also sent again when its first try may have been
//     appended, as in sarama: without Producer.Idempotent a record whose answer was lost can be in the
//     log twice. With 0 nothing is sent twice.
//   - A partition has one batch under way at a time, so there is no Net.MaxOpenRequests, which sarama
//     wants to be 1 with Producer.Idempotent.
//   - RequiredAcks NoResponse still gives a true partition and offset: it waits for the broker's
//     memory, not for its disk.
//   - A topic that does not exist is created by its first use where the broker allows that.
//
// The package has no transport, batching or retries of its own: it is a thin layer over package
// ropewalk, which new programs should use directly.
package sarama
