package kafka

import "context"

// There are no transactions: transactional.id is refused, and these methods are here so that
// programs which call them where it is set compile.

func noTransactions() error {
	e := unsupported("transactions")
	e.fatal = true
	return e
}

// InitTransactions fails with a fatal ErrUnsupportedFeature: there are no transactions.
func (p *Producer) InitTransactions(ctx context.Context) error { return noTransactions() }

// BeginTransaction fails with a fatal ErrUnsupportedFeature: there are no transactions.
func (p *Producer) BeginTransaction() error { return noTransactions() }

// SendOffsetsToTransaction fails with a fatal ErrUnsupportedFeature: there are no transactions.
func (p *Producer) SendOffsetsToTransaction(
	ctx context.Context, offsets []TopicPartition, consumerMetadata *ConsumerGroupMetadata,
) error {
	return noTransactions()
}

// CommitTransaction fails with a fatal ErrUnsupportedFeature: there are no transactions.
func (p *Producer) CommitTransaction(ctx context.Context) error { return noTransactions() }

// AbortTransaction fails with a fatal ErrUnsupportedFeature: there are no transactions.
func (p *Producer) AbortTransaction(ctx context.Context) error { return noTransactions() }
