package kafka

import "fmt"

// An Event is what a producer or a consumer tells: a *[Message], an [Error], [AssignedPartitions],
// [RevokedPartitions], [OffsetsCommitted] or [PartitionEOF].
type Event interface {
	// String shows the event to people.
	String() string
}

// AssignedPartitions are partitions that the group has given to this consumer.
type AssignedPartitions struct {
	// Partitions are all that it has, or with the cooperative protocol those that are new.
	Partitions []TopicPartition
}

// String lists the partitions.
func (e AssignedPartitions) String() string {
	return fmt.Sprintf("AssignedPartitions: %v", e.Partitions)
}

// RevokedPartitions are partitions that the group takes from this consumer.
type RevokedPartitions struct {
	// Partitions are all that it has, or with the cooperative protocol those that are taken.
	Partitions []TopicPartition
}

// String lists the partitions.
func (e RevokedPartitions) String() string {
	return fmt.Sprintf("RevokedPartitions: %v", e.Partitions)
}

// A PartitionEOF tells that the consumer has read everything of a partition; Offset is the next
// one. It comes with enable.partition.eof, and again each time that the end is reached anew.
type PartitionEOF TopicPartition

// String names the partition and the offset.
func (p PartitionEOF) String() string { return fmt.Sprintf("EOF at %s", TopicPartition(p)) }

// OffsetsCommitted tells what became of an automatic commit.
type OffsetsCommitted struct {
	// Error is why nothing was committed; nil when it was.
	Error error
	// Offsets are what was to be committed.
	Offsets []TopicPartition
}

// String tells the error and the offsets.
func (o OffsetsCommitted) String() string {
	return fmt.Sprintf("OffsetsCommitted (%v, %v)", o.Error, o.Offsets)
}

// Stats would be statistics, which there are none of: it is here for programs that switch over the
// types of events.
type Stats struct{ statsJSON string }

// String returns the statistics.
func (e Stats) String() string { return e.statsJSON }

// OAuthBearerTokenRefresh would ask for a token. It never comes: it is here for programs that
// switch over the types of events.
type OAuthBearerTokenRefresh struct {
	// Config is sasl.oauthbearer.config, which is refused.
	Config string
}

// String names the event.
func (o OAuthBearerTokenRefresh) String() string { return "OAuthBearerTokenRefresh" }
