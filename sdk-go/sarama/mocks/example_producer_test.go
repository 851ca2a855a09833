package mocks_test

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
	"github.com/ropewalk/ropewalk/sdk-go/sarama/mocks"
)

// An access log that sends and goes on, and the test of it: one line arrives, one does not.
func ExampleAsyncProducer() {
	config := mocks.NewTestConfig()
	config.Producer.Return.Successes = true
	producer := mocks.NewAsyncProducer(printer{}, config) // t, in a test
	producer.ExpectInputAndSucceed().ExpectInputAndFail(sarama.ErrMessageSizeTooLarge)

	// What is tested does this.
	for _, line := range []string{"GET /", "GET /prices"} {
		producer.Input() <- &sarama.ProducerMessage{
			Topic: "access_log", Value: sarama.StringEncoder(line),
		}
	}
	sent, failed := <-producer.Successes(), <-producer.Errors()
	fmt.Println(sent.Value, "is at", sent.Offset)
	fmt.Println(failed.Msg.Value, "is not:", errors.Is(failed, sarama.ErrMessageSizeTooLarge))
	if err := producer.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// GET / is at 1
	// GET /prices is not: true
}

// What is sent can be looked at: its value, or all of the message.
func ExampleMessageChecker() {
	var isJSON mocks.ValueChecker = func(value []byte) error {
		if !bytes.HasPrefix(value, []byte("{")) {
			return fmt.Errorf("%q is not JSON", value)
		}
		return nil
	}
	var hasKey mocks.MessageChecker = func(message *sarama.ProducerMessage) error {
		if message.Key == nil {
			return errors.New("there is no key")
		}
		return nil
	}
	producer := mocks.NewSyncProducer(printer{}, nil) // t, in a test
	producer.ExpectSendMessageWithCheckerFunctionAndSucceed(isJSON)
	producer.ExpectSendMessageWithMessageCheckerFunctionAndSucceed(hasKey)

	// What is tested does this: the second has no key.
	for _, value := range []string{`{"total": 12}`, `{"total": 13}`} {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: "orders", Value: sarama.StringEncoder(value),
		})
		if err != nil {
			fmt.Println("not sent:", err)
		}
	}
	_ = producer.Close()
	// Output:
	// Check function returned an error: there is no key
	// not sent: there is no key
}

// Partitioners are asked as with a real producer, for topics with as many partitions as the test
// says.
func ExampleTopicConfig() {
	config := mocks.NewTestConfig()
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewRoundRobinPartitioner
	producer := mocks.NewSyncProducer(printer{}, config) // t, in a test
	var topics *mocks.TopicConfig = producer.TopicConfig
	topics.SetDefaultPartitions(3)
	topics.SetPartitions(map[string]int32{"alarms": 1})

	for _, topic := range []string{"orders", "orders", "alarms"} {
		producer.ExpectSendMessageAndSucceed()
		partition, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic})
		fmt.Println(topic, partition, err)
	}
	_ = producer.Close()
	// Output:
	// orders 0 <nil>
	// orders 1 <nil>
	// alarms 0 <nil>
}

// complaints collects what mocks report, for tests of helpers that use them.
type complaints []string

func (c *complaints) Errorf(format string, args ...any) {
	*c = append(*c, fmt.Sprintf(format, args...))
}

// Mocks report to anything that has the method of *testing.T.
func ExampleErrorReporter() {
	var found complaints
	var reporter mocks.ErrorReporter = &found
	producer := mocks.NewSyncProducer(reporter, nil)
	_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: "orders"})
	fmt.Println(err != nil, len(found))
	_ = producer.Close()
	// Output: true 1
}
