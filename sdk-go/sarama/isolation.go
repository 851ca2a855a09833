package sarama

// IsolationLevel says which messages of transactions a consumer gets. There are no transactions
// yet, so that both levels give all messages.
type IsolationLevel int8

const (
	// ReadUncommitted gives all messages. The default.
	ReadUncommitted IsolationLevel = iota
	// ReadCommitted leaves out those of transactions that were aborted.
	ReadCommitted
)
