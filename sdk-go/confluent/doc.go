// Package kafka has the API of confluent-kafka-go, version 2, for Ropewalk: producers, consumers
// and administrators under the same names, with the same behaviour, without cgo and without
// librdkafka. A program written for it runs after its import line is changed:
//
//	import kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
//
// It is a thin layer over package ropewalk, which new programs take.
//
// # What is not there
//
// Transactions, SASL, access control lists, statistics and the mock cluster: see the settings below
// for what to do instead. The methods for transactions are there, and return a fatal [Error]. For
// tests there are brokers in package ropewalktest.
//
// # Delivery
//
// A [Producer] is idempotent unless enable.idempotence is false: what is sent again, as after a
// lost connection, is in the log once. The default of linger.ms is not librdkafka's 5 but 0, as
// batches form of what arrives while one is under way. Close sends what it was given, for up to 5
// s, where librdkafka drops it; who wants to know what became of each message calls Flush before,
// as always.
//
// A [Consumer] commits what it has handed out every auto.commit.interval.ms, but for the message
// that was handed out last: the program may be at it still, so that it counts as read when the
// program asks for more. Before partitions go to another consumer, and in Close, all of it is
// committed.
//
// # Gaps
//
// Nothing is ever reset in silence. When messages that were to be read are gone, as retention or
// DeleteRecords took them, Poll returns an [Error] with [ErrGap], which says which; reading goes on
// at the first message that there is, whatever auto.offset.reset says. That setting says where a
// partition begins of which the group has committed nothing, and where reading goes on when there
// is no message yet at the offset of Assign or Seek, or when a topic that was assigned was deleted
// and created again: Poll tells that as an Error with ErrOffsetOutOfRange or ErrUnknownTopicID.
//
// # Rebalances
//
// Brokers assign partitions, and move only those that have to. With cooperative-sticky, or
// group.protocol=consumer, that is what a callback sees. With range and roundrobin it sees what
// librdkafka's eager protocol would show it: all partitions are revoked, then all are assigned,
// and those for which no offset is chosen go on where the group has committed. A consumer without
// a callback is spared that. With go.application.rebalance.enable and no callback, Poll returns
// the events when what they tell has been done; with go.events.channel.enable too, the program
// itself calls Assign, or partitions that it has got are not read. A consumer that is slow is not
// put out of the group (ErrMaxPollExceeded does not occur): see max.poll.interval.ms.
package kafka
