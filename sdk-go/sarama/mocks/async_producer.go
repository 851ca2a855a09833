package mocks

import (
	"sync"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// AsyncProducer is a sarama.AsyncProducer that does what it was told to expect, one expectation for
// each message, in their order. Its channels have room for ChannelBufferSize messages; what comes
// back beyond that waits to be read. It must be closed.
type AsyncProducer struct {
	*transactions
	*TopicConfig
	expected *expectations
	config   *sarama.Config

	input     chan *sarama.ProducerMessage
	successes chan *sarama.ProducerMessage
	errors    chan *sarama.ProducerError
	closeOnce sync.Once
	closing   chan struct{}
	closed    chan struct{}
}

// NewAsyncProducer makes a mock. What is not as expected is reported to t, usually the *testing.T
// of the test. A nil config stands for the defaults; another one is validated, and says what comes
// back and how messages are placed.
func NewAsyncProducer(t ErrorReporter, config *sarama.Config) *AsyncProducer {
	config = checked(t, config)
	topics := NewTopicConfig()
	mp := &AsyncProducer{
		transactions: newTransactions(config), TopicConfig: topics,
		expected:  newExpectations(t, config, topics),
		config:    config,
		input:     make(chan *sarama.ProducerMessage, config.ChannelBufferSize),
		successes: make(chan *sarama.ProducerMessage, config.ChannelBufferSize),
		errors:    make(chan *sarama.ProducerError, config.ChannelBufferSize),
		closing:   make(chan struct{}),
		closed:    make(chan struct{}),
	}
	go mp.run()
	return mp
}

func (mp *AsyncProducer) run() {
	defer close(mp.closed)
	for open := true; open; {
		select {
		case msg := <-mp.input:
			mp.handle(msg)
		case <-mp.closing:
			open = false
		}
	}
	for range len(mp.input) { // what was sent before
		mp.handle(<-mp.input)
	}
	close(mp.successes)
	close(mp.errors)
	mp.expected.exhausted()
}

func (mp *AsyncProducer) handle(msg *sarama.ProducerMessage) {
	err := mp.outcome(msg)
	switch {
	case err != nil && mp.config.Producer.Return.Errors:
		mp.errors <- &sarama.ProducerError{Msg: msg, Err: err}
	case err == nil && mp.config.Producer.Return.Successes:
		mp.successes <- msg
	}
}

func (mp *AsyncProducer) outcome(msg *sarama.ProducerMessage) error {
	if !mp.takes() {
		mp.expected.t.Errorf("%s.", errNoTransaction)
		return errNoTransaction
	}
	next, ok := mp.expected.take(1)
	if !ok {
		mp.expected.t.Errorf(
			"No more expectation set on this mock producer to handle the input message.")
		return errOutOfExpectations
	}
	return mp.expected.meet(msg, next[0])
}

// AsyncClose says that no more messages come: what was expected and has not come is then reported.
func (mp *AsyncProducer) AsyncClose() { mp.closeOnce.Do(func() { close(mp.closing) }) }

// Close does that and waits for it. What came back stays in the channels, to be looked at.
func (mp *AsyncProducer) Close() error {
	mp.AsyncClose()
	<-mp.closed
	return nil
}

// Input is where messages are sent to. Expectations must have been set before.
func (mp *AsyncProducer) Input() chan<- *sarama.ProducerMessage {
	select {
	case <-mp.closed:
		return make(chan *sarama.ProducerMessage, 1) // which nobody reads
	default:
		return mp.input
	}
}

// Successes is the channel of messages that succeeded, if the config has Producer.Return.Successes.
func (mp *AsyncProducer) Successes() <-chan *sarama.ProducerMessage { return mp.successes }

// Errors is the channel of messages that failed, if the config has Producer.Return.Errors.
func (mp *AsyncProducer) Errors() <-chan *sarama.ProducerError { return mp.errors }

// ExpectInputWithMessageCheckerFunctionAndSucceed expects a message, has it checked, and succeeds
// unless that fails.
func (mp *AsyncProducer) ExpectInputWithMessageCheckerFunctionAndSucceed(
	cf MessageChecker,
) *AsyncProducer {
	mp.expected.add(cf, nil)
	return mp
}

// ExpectInputWithMessageCheckerFunctionAndFail expects a message, has it checked, and fails with
// err unless that fails.
func (mp *AsyncProducer) ExpectInputWithMessageCheckerFunctionAndFail(
	cf MessageChecker, err error,
) *AsyncProducer {
	mp.expected.add(cf, err)
	return mp
}

// ExpectInputWithCheckerFunctionAndSucceed expects a message, has its value checked, and succeeds
// unless that fails.
func (mp *AsyncProducer) ExpectInputWithCheckerFunctionAndSucceed(cf ValueChecker) *AsyncProducer {
	return mp.ExpectInputWithMessageCheckerFunctionAndSucceed(valueChecker(cf))
}

// ExpectInputWithCheckerFunctionAndFail expects a message, has its value checked, and fails with
// err unless that fails.
func (mp *AsyncProducer) ExpectInputWithCheckerFunctionAndFail(
	cf ValueChecker, err error,
) *AsyncProducer {
	return mp.ExpectInputWithMessageCheckerFunctionAndFail(valueChecker(cf), err)
}

// ExpectInputAndSucceed expects a message, and succeeds.
func (mp *AsyncProducer) ExpectInputAndSucceed() *AsyncProducer {
	return mp.ExpectInputWithMessageCheckerFunctionAndSucceed(nil)
}

// ExpectInputAndFail expects a message, and fails with err.
func (mp *AsyncProducer) ExpectInputAndFail(err error) *AsyncProducer {
	return mp.ExpectInputWithMessageCheckerFunctionAndFail(nil, err)
}
