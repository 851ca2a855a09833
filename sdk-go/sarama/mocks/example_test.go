package mocks_test

import (
	"context"
	"fmt"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
	"github.com/ropewalk/ropewalk/sdk-go/sarama/mocks"
)

// printer is what *testing.T is in a test.
type printer struct{}

func (printer) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func ExampleSyncProducer() {
	producer := mocks.NewSyncProducer(printer{}, nil)
	producer.ExpectSendMessageAndSucceed().ExpectSendMessageAndFail(sarama.ErrRequestTimedOut)

	// What is tested calls this.
	message := &sarama.ProducerMessage{Topic: "t", Value: sarama.StringEncoder("x")}
	_, offset, err := producer.SendMessage(message)
	fmt.Println(offset, err)

	// One message less than expected fails the test.
	_ = producer.Close()
	// Output:
	// 1 <nil>
	// Expected to exhaust all expectations, but 1 are left.
}

// greeter is a handler of a consumer group.
type greeter struct{}

func (greeter) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (greeter) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (greeter) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for message := range claim.Messages() {
		fmt.Printf("hello, %s\n", message.Value)
		session.MarkMessage(message, "")
	}
	return nil
}

func ExampleConsumerGroup() {
	group := mocks.NewConsumerGroup(printer{}, nil)
	session := group.ExpectSession().EndAfterMessages().ExpectMarked("t", 0, 2)
	session.ExpectClaim("t", 0, sarama.OffsetOldest).
		YieldMessage(&sarama.ConsumerMessage{Value: []byte("world")}).
		YieldMessage(&sarama.ConsumerMessage{Value: []byte("moon")})

	// What is tested calls this.
	if err := group.Consume(context.Background(), []string{"t"}, greeter{}); err != nil {
		fmt.Println(err)
	}
	offset, _ := group.Committed("t", 0)
	fmt.Println("committed", offset)
	_ = group.Close()
	// Output:
	// hello, world
	// hello, moon
	// committed 2
}
