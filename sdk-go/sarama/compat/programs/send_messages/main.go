// Sends a batch of which some cannot be sent, and finds out which.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

type broken struct{}

var errBroken = errors.New("this one does not encode")

func (broken) Encode() ([]byte, error) { return nil, errBroken }
func (broken) Length() int             { return 1 }

func main() {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.MaxMessageBytes = 1000
	producer, err := sarama.NewSyncProducer(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()

	messages := []*sarama.ProducerMessage{
		{Topic: "send-messages", Value: sarama.StringEncoder("good"), Metadata: 0},
		{Topic: "send-messages", Value: sarama.ByteEncoder(make([]byte, 2000)), Metadata: 1},
		{Topic: "send-messages", Value: broken{}, Metadata: 2},
		{Topic: "send-messages", Value: sarama.StringEncoder("good too"), Metadata: 3},
	}
	err = producer.SendMessages(messages)
	var failures sarama.ProducerErrors
	if !errors.As(err, &failures) {
		log.Fatal("not ProducerErrors: ", err)
	}
	reasons := map[any]error{}
	for _, failure := range failures {
		reasons[failure.Msg.Metadata] = failure.Err
		fmt.Println("the same pointer:", failure.Msg == messages[failure.Msg.Metadata.(int)])
	}
	fmt.Println(len(failures), "failed")
	var tooLarge sarama.ConfigurationError
	fmt.Println("too large:", errors.Is(reasons[1], sarama.ErrMessageSizeTooLarge) ||
		errors.As(reasons[1], &tooLarge))
	fmt.Println("broken:", errors.Is(reasons[2], errBroken))
	fmt.Println("offsets of the good:", messages[0].Offset, messages[3].Offset)

	partition, offset, err := producer.SendMessage(messages[2])
	fmt.Println(partition, offset, errors.Is(err, errBroken))
	fmt.Println("nothing to send:", producer.SendMessages(nil))
}

// Output:
// the same pointer: true
// the same pointer: true
// 2 failed
// too large: true
// broken: true
// offsets of the good: 0 1
// -1 -1 true
// nothing to send: <nil>
