// Package mocks has stand-ins for producers, consumers and consumer groups, for the tests of
// programs that use them through the interfaces of package sarama.
//
// A mock is told what to expect, and how to answer. What is not met is an error of the test: at
// once, or when the mock is closed. Offsets of what a mock producer takes begin at 1, and topics
// have 32 partitions until a [TopicConfig] says otherwise.
//
// Names and behaviour are those of the package that it mirrors. What differs:
//
//   - A message whose check fails comes back once, on Errors, and not on Successes too. One for
//     which nothing was expected comes back on Errors, rather than nowhere.
//   - A mock may be closed twice, and what is sent to a producer after that is dropped.
//   - Producers without Producer.Return.Errors return no errors, as real ones.
//   - There is a mock of consumer groups, [ConsumerGroup].
//   - Configs with a Producer.Transaction.ID are not valid yet. The methods of transactions keep
//     the state that TxnStatus tells, whether there is an ID or not.
package mocks
