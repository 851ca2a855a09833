package sarama

import "strings"

// ProducerTxnStatusFlag says where the transaction of a producer stands. Several can be set.
type ProducerTxnStatusFlag int16

// The states of a transaction. There are none yet: a producer is always uninitialized.
const (
	// ProducerTxnFlagUninitialized: the producer has no transactions.
	ProducerTxnFlagUninitialized ProducerTxnStatusFlag = 1 << iota
	// ProducerTxnFlagInitializing: it is getting ready for them.
	ProducerTxnFlagInitializing
	// ProducerTxnFlagReady: one may begin.
	ProducerTxnFlagReady
	// ProducerTxnFlagInTransaction: one is open.
	ProducerTxnFlagInTransaction
	// ProducerTxnFlagEndTransaction: one is ending.
	ProducerTxnFlagEndTransaction
	// ProducerTxnFlagInError: one has failed.
	ProducerTxnFlagInError
	// ProducerTxnFlagCommittingTransaction: one is being committed.
	ProducerTxnFlagCommittingTransaction
	// ProducerTxnFlagAbortingTransaction: one is being aborted.
	ProducerTxnFlagAbortingTransaction
	// ProducerTxnFlagAbortableError: it must be aborted.
	ProducerTxnFlagAbortableError
	// ProducerTxnFlagFatalError: the producer must be made anew.
	ProducerTxnFlagFatalError
)

// txnStates are the names of the flags, from the lowest bit.
var txnStates = [...]string{
	"Uninitialized", "Initializing", "Ready", "InTransaction", "EndTransaction", "InError",
	"CommittingTransaction", "AbortingTransaction", "AbortableError", "FatalError",
}

// String returns the names of the flags that are set, with | between them.
func (s ProducerTxnStatusFlag) String() string {
	var names []string
	for i, name := range txnStates {
		if s&(1<<i) != 0 {
			names = append(names, "ProducerTxnState"+name)
		}
	}
	return strings.Join(names, "|")
}

// PartitionOffsetMetadata is an offset to be committed with a transaction.
type PartitionOffsetMetadata struct {
	// Partition is the number of the partition.
	Partition int32
	// Offset is the offset of the next message to read.
	Offset int64
	// LeaderEpoch is the leader's epoch of the last message that was read.
	LeaderEpoch int32
	// Metadata is kept beside the offset; nil for none.
	Metadata *string
}

// noTransactions has what producers have of transactions: that there are none.
type noTransactions struct{}

func (noTransactions) TxnStatus() ProducerTxnStatusFlag { return ProducerTxnFlagUninitialized }

func (noTransactions) IsTransactional() bool { return false }

func (noTransactions) BeginTxn() error { return ErrNonTransactedProducer }

func (noTransactions) CommitTxn() error { return ErrNonTransactedProducer }

func (noTransactions) AbortTxn() error { return ErrNonTransactedProducer }

func (noTransactions) AddOffsetsToTxn(map[string][]*PartitionOffsetMetadata, string) error {
	return ErrNonTransactedProducer
}

func (noTransactions) AddOffsetsToTxnWithGroupMetadata(
	map[string][]*PartitionOffsetMetadata, *ConsumerGroupMetadata,
) error {
	return ErrNonTransactedProducer
}

func (noTransactions) AddMessageToTxn(*ConsumerMessage, string, *string) error {
	return ErrNonTransactedProducer
}

func (noTransactions) AddMessageToTxnWithGroupMetadata(
	*ConsumerMessage, *ConsumerGroupMetadata, *string,
) error {
	return ErrNonTransactedProducer
}
