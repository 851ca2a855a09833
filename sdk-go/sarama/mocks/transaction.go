package mocks

import (
	"sync"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// transactions keeps the state of a mock producer's transaction.
type transactions struct {
	transactional bool

	mu   sync.Mutex
	open bool
}

func newTransactions(config *sarama.Config) *transactions {
	return &transactions{transactional: config.Producer.Transaction.ID != ""}
}

// takes reports whether messages are taken: within a transaction, where there are any.
func (x *transactions) takes() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.open || !x.transactional
}

func (x *transactions) set(open bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.open = open
}

// IsTransactional reports whether the config has a Producer.Transaction.ID.
func (x *transactions) IsTransactional() bool { return x.transactional }

// TxnStatus is ProducerTxnFlagInTransaction or ProducerTxnFlagReady.
func (x *transactions) TxnStatus() sarama.ProducerTxnStatusFlag {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.open {
		return sarama.ProducerTxnFlagInTransaction
	}
	return sarama.ProducerTxnFlagReady
}

// BeginTxn opens a transaction.
func (x *transactions) BeginTxn() error {
	x.set(true)
	return nil
}

// CommitTxn ends it.
func (x *transactions) CommitTxn() error {
	x.set(false)
	return nil
}

// AbortTxn ends it.
func (x *transactions) AbortTxn() error {
	x.set(false)
	return nil
}

// AddOffsetsToTxn does nothing.
func (*transactions) AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata, string) error {
	return nil
}

// AddOffsetsToTxnWithGroupMetadata does nothing.
func (*transactions) AddOffsetsToTxnWithGroupMetadata(
	map[string][]*sarama.PartitionOffsetMetadata, *sarama.ConsumerGroupMetadata,
) error {
	return nil
}

// AddMessageToTxn does nothing.
func (*transactions) AddMessageToTxn(*sarama.ConsumerMessage, string, *string) error { return nil }

// AddMessageToTxnWithGroupMetadata does nothing.
func (*transactions) AddMessageToTxnWithGroupMetadata(
	*sarama.ConsumerMessage, *sarama.ConsumerGroupMetadata, *string,
) error {
	return nil
}
