package sarama

import "context"

// ConsumerGroupHandler is what a program does with its claims. Its methods are called by several
// goroutines.
type ConsumerGroupHandler interface {
	// Setup begins a session, before any ConsumeClaim.
	Setup(ConsumerGroupSession) error

	// Cleanup ends a session, when all ConsumeClaim have returned and before the last commit.
	Cleanup(ConsumerGroupSession) error

	// ConsumeClaim reads the messages of a claim until their channel is closed, or the session's
	// context is done. The session ends when it returns.
	ConsumeClaim(ConsumerGroupSession, ConsumerGroupClaim) error
}

// ConsumerGroupSession is what a member has between two rebalances.
type ConsumerGroupSession interface {
	// Claims are the partitions of this session, by topic.
	Claims() map[string][]int32

	// MemberID is the id that the group knows this member by.
	MemberID() string

	// GenerationID counts the changes of the group's assignment.
	GenerationID() int32

	// MarkOffset marks the offset of the next message to read, to be committed. It goes only forward:
	// a lower offset than the one that is marked does nothing. Metadata is kept beside it.
	MarkOffset(topic string, partition int32, offset int64, metadata string)

	// Commit commits what is marked, and waits for it. Errors go to the group's Errors.
	Commit()

	// ResetOffset is MarkOffset that goes only back: a higher offset does nothing.
	ResetOffset(topic string, partition int32, offset int64, metadata string)

	// MarkMessage marks a message as read.
	MarkMessage(msg *ConsumerMessage, metadata string)

	// Context is done when the session is to end.
	Context() context.Context
}

// ConsumerGroupClaim is a partition that a session reads.
type ConsumerGroupClaim interface {
	// Topic is the name of the topic.
	Topic() string

	// Partition is the number of the partition.
	Partition() int32

	// InitialOffset is where this claim began to read.
	InitialOffset() int64

	// HighWaterMarkOffset is the offset that the next message of the partition will get, as last
	// heard.
	HighWaterMarkOffset() int64

	// Messages is the channel of messages. It is closed when the session is to end.
	Messages() <-chan *ConsumerMessage
}
