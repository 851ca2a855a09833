package ropewalk

import (
	"context"
	"time"
)

// A Hook is told what a client does: for metrics, for logs of one's own, and for alarms. It is any
// value that has one or more of the methods of the interfaces here whose names begin with Hook;
// give it to [WithHooks]. There is one small interface for each event, so that a hook has only what
// it wants to know, and events that come with later versions break none.
//
// As any such value is taken, a method with a slip in its name is never called. Have the compiler
// look:
//
//	var _ ropewalk.HookBatchSent = (*MyHook)(nil)
//
// All of them are called from goroutines of the client, or within a call of the program, which do
// nothing else meanwhile, and several at once: a hook must not block, must not call the client that
// calls it, and guards its own state. What it is given it must not change, nor keep slices of. One
// that panics is logged as an error, and the client goes on.
//
// Hooks tell of batches, streams and calls. What is to be done for each record, in the context of
// whoever sends it, is an interceptor's: [SendInterceptor], [ReceiveInterceptor].
type Hook any

// WithHooks has hooks told what the client, its producers and its consumers do. Several are called
// in the order in which they were given. One that is nil, or has none of the methods, is refused.
// Default: none, which costs nothing.
func WithHooks(hooks ...Hook) ClientOption {
	return func(c *clientConfig) { c.hooks = append(c.hooks, hooks...) }
}

// HookBrokerConnected is told of connections that were made.
type HookBrokerConnected interface {
	// OnBrokerConnected is called when a connection to a broker stands: that of the client, one to
	// the leader of a partition, a further one for streams that find no room on these, or a short
	// one that asks who answers at an address.
	OnBrokerConnected(BrokerConnected)
}

// HookBrokerDisconnected is told of connections that have ended.
type HookBrokerDisconnected interface {
	// OnBrokerDisconnected is called once for each connection that [HookBrokerConnected] was told
	// of: when the client closed it, when the broker did, and when it broke.
	OnBrokerDisconnected(BrokerDisconnected)
}

// HookBrokerUnreachable is told of brokers that are known and not to be had.
type HookBrokerUnreachable interface {
	// OnBrokerUnreachable is called when a connection to the leader of a partition could not be
	// made, or another cluster answers there. Others forward to it meanwhile; it is tried again
	// after 1 s, later after up to 30 s.
	OnBrokerUnreachable(BrokerUnreachable)
}

// HookRequestDone is told of calls.
type HookRequestDone interface {
	// OnRequestDone is called when a call to a broker has ended: each try of a unary call, and each
	// stream, which lives as long as its producer or consumer uses it.
	OnRequestDone(RequestDone)
}

// HookStreamBroken is told of streams that broke.
type HookStreamBroken interface {
	// OnStreamBroken is called when a stream of a producer, a consumer or a member of a group ended
	// that was still in use, before it is opened again. Of a consumer or a member it also tells when
	// the stream could not be opened again; of a producer the batches tell that
	// ([HookBatchRetried]). Nothing is lost by that alone.
	OnStreamBroken(StreamBroken)
}

// HookBatchSent is told of batches that go out.
type HookBatchSent interface {
	// OnBatchSent is called when a batch of a producer is handed to the connection, once for each
	// try, and before its answer is known; also for what [Producer.Append] appends.
	OnBatchSent(BatchSent)
}

// HookBatchRetried is told of batches that are to go out again.
type HookBatchRetried interface {
	// OnBatchRetried is called when a try of a batch has failed, and another one follows. Those of
	// [Producer.Append] show in the Attempt of what is sent.
	OnBatchRetried(BatchRetried)
}

// HookBatchAnswered is told what became of batches.
type HookBatchAnswered interface {
	// OnBatchAnswered is called once for each batch of a producer when its outcome is known, before
	// the records of it are answered: it is in the log, or it has failed for good. A batch that a
	// broker refused for what is in it is halved, and each half has an outcome of its own.
	OnBatchAnswered(BatchAnswered)
}

// HookRecordsFailed is told of records that end without a batch.
type HookRecordsFailed interface {
	// OnRecordsFailed is called when records that a producer was given fail without having been put
	// in a batch: they were refused when they were handed over, their caller gave up while they
	// waited, or [Producer.Purge] or [Producer.Abort] gave them up. Their callers hear it at the same
	// time. What becomes of all others, [HookBatchAnswered] tells: both together tell of each record
	// once.
	OnRecordsFailed(RecordsFailed)
}

// HookBatchReceived is told of batches that come in.
type HookBatchReceived interface {
	// OnBatchReceived is called when a batch was received and decompressed, by a consumer or a
	// member of a group, before its records are handed out. They may be dropped all the same: by
	// Close, or because the partition goes to another member.
	OnBatchReceived(BatchReceived)
}

// HookRecordsDelivered is told of records that are handed out.
type HookRecordsDelivered interface {
	// OnRecordsDelivered is called within Next and Poll when they hand out records: with one record
	// for each Next. It should be quick.
	OnRecordsDelivered(RecordsDelivered)
}

// HookGapFound is told of records that are gone.
type HookGapFound interface {
	// OnGapFound is called when a consumer or a member of a group was to read records that were
	// deleted before, as by retention. It comes with the gap that the program meets.
	OnGapFound(GapFound)
}

// HookGroupAssigned is told of partitions that a member of a group has got.
type HookGroupAssigned interface {
	// OnGroupAssigned is called before the handler of the program, [GroupAssigned].
	OnGroupAssigned(GroupChange)
}

// HookGroupRevoked is told of partitions that a member of a group is to give back.
type HookGroupRevoked interface {
	// OnGroupRevoked is called before the handler of the program, [GroupRevoked].
	OnGroupRevoked(GroupChange)
}

// HookGroupLost is told of partitions that were taken from a member of a group.
type HookGroupLost interface {
	// OnGroupLost is called before the handler of the program, [GroupLost].
	OnGroupLost(GroupChange)
}

// HookGroupLeft is told of partitions that a member of a group gives up by leaving.
type HookGroupLeft interface {
	// OnGroupLeft is called when [GroupConsumer.Close], or an error that ends the member, has it leave
	// with partitions, after which it has none. The program's handlers are not called for them. A call
	// of Next that is under way meanwhile may still tell of what it had taken from the stream.
	OnGroupLeft(GroupChange)
}

// HookCommitDone is told of commits.
type HookCommitDone interface {
	// OnCommitDone is called when a commit of offsets has its answer, with all of its tries: of a
	// member of a group, also one that it makes by itself, and of a consumer or an administrator.
	OnCommitDone(CommitDone)
}

// BrokerConnected is what [HookBrokerConnected] is told.
type BrokerConnected struct {
	// Address and Local are the two ends of the connection, each IP:PORT.
	Address, Local string
	// ClientID is what the client calls itself there ([WithClientID]).
	ClientID string
}

// BrokerDisconnected is what [HookBrokerDisconnected] is told.
type BrokerDisconnected struct {
	// Address and Local are those of the connection when it was made.
	Address, Local string
	// Duration is how long it stood.
	Duration time.Duration
}

// BrokerUnreachable is what [HookBrokerUnreachable] is told.
type BrokerUnreachable struct {
	// Broker is its id, and Address where the cluster says it is, HOST:PORT.
	Broker  uint64
	Address string
	// Err is why it is not to be had.
	Err error
}

// RequestDone is what [HookRequestDone] is told.
type RequestDone struct {
	// Method is the full name: /ropewalk.v1.AdminService/GetTopic.
	Method string
	// Address is the broker's, IP:PORT; empty where no connection was found for the call.
	Address string
	// Stream is whether it was a stream.
	Stream bool
	// Duration is from its start to its end.
	Duration time.Duration
	// SentBytes and ReceivedBytes are those of its messages on the wire, without their frames.
	SentBytes, ReceivedBytes int64
	// Err is why it failed, as an [*Error]; nil where it did not. A stream that its own side left
	// ends with a code of Canceled.
	Err error
}

// A StreamKind says whose stream it is.
type StreamKind int

const (
	// ProduceStream is that of a [Producer] to one broker.
	ProduceStream StreamKind = iota
	// ConsumeStream is that of a [Consumer].
	ConsumeStream
	// GroupStream is that of a [GroupConsumer].
	GroupStream
)

// String returns produce, consume or group.
func (k StreamKind) String() string {
	switch k {
	case ProduceStream:
		return "produce"
	case ConsumeStream:
		return "consume"
	case GroupStream:
		return "group"
	}
	return "unknown"
}

// StreamBroken is what [HookStreamBroken] is told.
type StreamBroken struct {
	Kind StreamKind
	// Group is the consumer group of a member; empty for others.
	Group string
	// Failures counts the failures since such a stream last worked, this one included; of a
	// producer it is 1.
	Failures int
	// Unanswered is how many batches of a producer had no answer.
	Unanswered int
	// Err is what ended it.
	Err error
}

// BatchInfo says what is in a batch of a producer.
type BatchInfo struct {
	TopicPartition
	// Records is how many it has.
	Records int
	// Bytes is their encoded size; WireBytes what goes over the wire of that, which is less when it
	// is compressed.
	Bytes, WireBytes int
	// Compression is how it is compressed; [CompressionNone] also where that would not make it
	// smaller.
	Compression Compression
	// Attempt counts its tries from 1; 0 when it failed before the first.
	Attempt int
	// Broker is the id of the leader that this try goes to; 0: whichever broker answers forwards
	// it.
	Broker uint64
	// Address is where the broker is that this try goes to, HOST:PORT. Where that is whichever
	// answers, it is empty until the first answer over the stream says who that is.
	Address string
}

// BatchSent is what [HookBatchSent] is told.
type BatchSent struct{ BatchInfo }

// BatchRetried is what [HookBatchRetried] is told.
type BatchRetried struct {
	BatchInfo
	// Delay is the pause before the next try.
	Delay time.Duration
	// Err is why this one failed.
	Err error
}

// BatchAnswered is what [HookBatchAnswered] is told.
type BatchAnswered struct {
	BatchInfo
	// Ack is the place of its first record, when Err is nil.
	Ack Ack
	// Duration is from when its oldest record was handed over until now, with all tries; RoundTrip
	// from when the last try was sent, 0 where there was none.
	Duration, RoundTrip time.Duration
	// Err is why it failed, as an [*Error].
	Err error
}

// NoPartition stands in [RecordsFailed] for a partition that is not known.
const NoPartition int32 = -1

// RecordsFailed is what [HookRecordsFailed] is told.
type RecordsFailed struct {
	// TopicPartition is where they were to go. Partition is [NoPartition] where none was chosen yet,
	// or the caller of Send has given up. There may be no such topic.
	TopicPartition
	// Records is how many failed.
	Records int
	// Err is why, as an [*Error]. None of them was appended.
	Err error
}

// BatchReceived is what [HookBatchReceived] is told.
type BatchReceived struct {
	TopicPartition
	// Group is the consumer group of a member; empty for a consumer without one.
	Group string
	// BaseOffset is the offset of its first record, Records how many it has. After a reconnect the
	// first may be known already, and are not handed out again.
	BaseOffset int64
	Records    int
	// Bytes is the encoded size of the records, WireBytes what came over the wire of them.
	Bytes, WireBytes int
	// Compression is how it was compressed.
	Compression Compression
}

// RecordsDelivered is what [HookRecordsDelivered] is told.
type RecordsDelivered struct {
	TopicPartition
	// Group is the consumer group of a member; empty for a consumer without one.
	Group string
	// Address is where the broker is that they came from, HOST:PORT.
	Address string
	// Records is how many are handed out, the first of them at Offset.
	Records int
	Offset  int64
}

// GapFound is what [HookGapFound] is told.
type GapFound struct {
	Gap
	// Group is the consumer group of a member; empty for a consumer without one.
	Group string
}

// GroupChange is what [HookGroupAssigned], [HookGroupRevoked], [HookGroupLost] and [HookGroupLeft]
// are told.
type GroupChange struct {
	// Group and Member are the group, and the id of the member in it.
	Group, Member string
	// Positions are the partitions, each with the offset after what was handed out.
	Positions []Position
}

// CommitDone is what [HookCommitDone] is told.
type CommitDone struct {
	// Context is that of the call that commits; for a commit that a member makes by itself that of
	// the call of Next, Poll or Shutdown within which it does. It is for traces: it may have ended.
	Context context.Context
	// Group is the consumer group, Member the id of the member that commits; empty for an
	// administrator's commit.
	Group, Member string
	// Offsets are what was committed, or was to be.
	Offsets []CommittedOffset
	// Address is where the broker is that was asked last, HOST:PORT; empty where none could be.
	Address string
	// Duration is how long it took.
	Duration time.Duration
	// Err is why it failed, as an [*Error].
	Err error
}
