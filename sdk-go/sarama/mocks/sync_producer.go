package mocks

import (
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// SyncProducer is a sarama.SyncProducer that does what it was told to expect, one expectation for
// each message, in their order.
type SyncProducer struct {
	*transactions
	*TopicConfig
	expected *expectations
}

// NewSyncProducer makes a mock. What is not as expected is reported to t, usually the *testing.T of
// the test. A nil config stands for the defaults; another one is validated, and says how messages
// are placed.
func NewSyncProducer(t ErrorReporter, config *sarama.Config) *SyncProducer {
	config = checked(t, config)
	topics := NewTopicConfig()
	return &SyncProducer{
		transactions: newTransactions(config), TopicConfig: topics,
		expected: newExpectations(t, config, topics),
	}
}

// SendMessage does what is expected next. When nothing is, that is reported and returned.
func (sp *SyncProducer) SendMessage(
	msg *sarama.ProducerMessage,
) (partition int32, offset int64, err error) {
	if !sp.takes() {
		sp.expected.t.Errorf("%s.", errNoTransaction)
		return -1, -1, errNoTransaction
	}
	next, ok := sp.expected.take(1)
	if !ok {
		sp.expected.t.Errorf(
			"No more expectation set on this mock producer to handle the input message.")
		return -1, -1, errOutOfExpectations
	}
	if err := sp.expected.meet(msg, next[0]); err != nil {
		return -1, -1, err
	}
	return msg.Partition, msg.Offset, nil
}

// SendMessages does what is expected next, for one message after the other, until one fails: that
// error is returned as it is. When fewer are expected, that is reported and returned, and none is
// taken.
func (sp *SyncProducer) SendMessages(msgs []*sarama.ProducerMessage) error {
	next, ok := sp.expected.take(len(msgs))
	if !ok {
		sp.expected.t.Errorf(
			"Insufficient expectations set on this mock producer to handle the input messages.")
		return errOutOfExpectations
	}
	for i, msg := range msgs {
		if err := sp.expected.meet(msg, next[i]); err != nil {
			return err
		}
	}
	return nil
}

// Close reports what was expected and has not come.
func (sp *SyncProducer) Close() error {
	sp.expected.exhausted()
	return nil
}

// ExpectSendMessageWithMessageCheckerFunctionAndSucceed expects a message, has it checked, and
// succeeds unless that fails.
func (sp *SyncProducer) ExpectSendMessageWithMessageCheckerFunctionAndSucceed(
	cf MessageChecker,
) *SyncProducer {
	sp.expected.add(cf, nil)
	return sp
}

// ExpectSendMessageWithMessageCheckerFunctionAndFail expects a message, has it checked, and returns
// err unless that fails.
func (sp *SyncProducer) ExpectSendMessageWithMessageCheckerFunctionAndFail(
	cf MessageChecker, err error,
) *SyncProducer {
	sp.expected.add(cf, err)
	return sp
}

// ExpectSendMessageWithCheckerFunctionAndSucceed expects a message, has its value checked, and
// succeeds unless that fails.
func (sp *SyncProducer) ExpectSendMessageWithCheckerFunctionAndSucceed(
	cf ValueChecker,
) *SyncProducer {
	return sp.ExpectSendMessageWithMessageCheckerFunctionAndSucceed(valueChecker(cf))
}

// ExpectSendMessageWithCheckerFunctionAndFail expects a message, has its value checked, and returns
// err unless that fails.
func (sp *SyncProducer) ExpectSendMessageWithCheckerFunctionAndFail(
	cf ValueChecker, err error,
) *SyncProducer {
	return sp.ExpectSendMessageWithMessageCheckerFunctionAndFail(valueChecker(cf), err)
}

// ExpectSendMessageAndSucceed expects a message, and succeeds.
func (sp *SyncProducer) ExpectSendMessageAndSucceed() *SyncProducer {
	return sp.ExpectSendMessageWithMessageCheckerFunctionAndSucceed(nil)
}

// ExpectSendMessageAndFail expects a message, and returns err.
func (sp *SyncProducer) ExpectSendMessageAndFail(err error) *SyncProducer {
	return sp.ExpectSendMessageWithMessageCheckerFunctionAndFail(nil, err)
}
