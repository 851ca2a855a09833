package sarama

// OffsetManager keeps the committed offsets of a group for a program that assigns partitions to
// itself. It must be closed, after its partition offset managers.
type OffsetManager interface {
	// ManagePartition begins with a partition. One that is managed already is a ConfigurationError.
	ManagePartition(topic string, partition int32) (PartitionOffsetManager, error)

	// Close commits what is marked, if Consumer.Offsets.AutoCommit is enabled, and ends.
	Close() error

	// Commit commits what is marked, and waits for it.
	Commit()
}

// PartitionOffsetManager keeps the committed offset of one partition. It must be closed.
type PartitionOffsetManager interface {
	// NextOffset is the offset of the next message to read, with its metadata: what is committed or
	// marked, or Consumer.Offsets.Initial when there is nothing.
	NextOffset() (int64, string)

	// MarkOffset marks the offset of the next message to read, to be committed. It goes only forward:
	// a lower offset than the one that is marked does nothing. Metadata is kept beside it.
	MarkOffset(offset int64, metadata string)

	// ResetOffset is MarkOffset that goes only back: a higher offset does nothing.
	ResetOffset(offset int64, metadata string)

	// Errors is the channel of errors, if Consumer.Return.Errors is set. It is closed at the end.
	Errors() <-chan *ConsumerError

	// AsyncClose begins to close; Errors is closed when what is marked is committed.
	AsyncClose()

	// Close closes, and returns the errors that nobody has read as a ConsumerErrors. It waits for the
	// next commit if there is something to commit.
	Close() error
}
