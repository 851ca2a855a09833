package kafka_test

import (
	"errors"
	"flag"
	"fmt"
	"log"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
)

// A goroutine reads what became of messages, and Flush waits for that before the program ends.
func ExampleProducer() {
	address, stop := exampleServer() // localhost:9092
	defer stop()
	p, err := kafka.NewProducer(&kafka.ConfigMap{"bootstrap.servers": address})
	if err != nil {
		log.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for e := range p.Events() {
			switch ev := e.(type) {
			case *kafka.Message:
				if ev.TopicPartition.Error != nil {
					fmt.Println("not delivered:", ev.TopicPartition.Error)
				} else {
					fmt.Printf("%s is at %v\n", ev.Value, ev.TopicPartition.Offset)
				}
			case kafka.Error:
				fmt.Println("error:", ev)
			}
		}
	}()
	topic := "greetings"
	for _, word := range []string{"hello", "world"} {
		err := p.Produce(&kafka.Message{
			TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: kafka.PartitionAny},
			Value:          []byte(word),
		}, nil)
		if err != nil {
			log.Fatal(err)
		}
	}
	if left := p.Flush(15_000); left > 0 {
		log.Printf("%d messages are still on their way", left)
	}
	p.Close()
	<-read
	// Output:
	// hello is at 0
	// world is at 1
}

// All that a message can have. Its report comes to a channel of its own.
func ExampleMessage() {
	address, stop := exampleServer() // localhost:9092
	defer stop()
	p, err := kafka.NewProducer(&kafka.ConfigMap{"bootstrap.servers": address})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	topic := "orders"
	report := make(chan kafka.Event, 1)
	err = p.Produce(&kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: kafka.PartitionAny},
		Key:            []byte("ann"),
		Value:          []byte("12"),
		Headers:        []kafka.Header{{Key: "from", Value: []byte("shop")}},
		Opaque:         "request 7", // comes back with the report
	}, report)
	if err != nil {
		log.Fatal(err)
	}
	m := (<-report).(*kafka.Message)
	if m.TopicPartition.Error != nil {
		log.Fatal(m.TopicPartition.Error)
	}
	fmt.Println(m.Opaque, "is", m.TopicPartition)
	// Output: request 7 is orders[0]@0
}

// Settings can be given on the command line. One that is not known, or has no meaning here, is an
// error of the constructor.
func ExampleConfigMap() {
	conf := kafka.ConfigMap{"bootstrap.servers": "localhost:9092"}
	flags := flag.NewFlagSet("producer", flag.ContinueOnError)
	flags.Func("X", "a setting, as name=value", conf.Set)
	arguments := []string{"-X", "linger.ms=20", "-X", "statistics.interval.ms=1000"}
	if err := flags.Parse(arguments); err != nil {
		log.Fatal(err)
	}
	var linger kafka.ConfigValue
	linger, err := conf.Get("linger.ms", "0")
	fmt.Println(linger, err)

	_, err = kafka.NewProducer(&conf)
	var refused kafka.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Code() == kafka.ErrInvalidArg)
	}
	// Output:
	// 20 <nil>
	// true
}

// Errors have librdkafka's codes, and say whether the same call can succeed later. What the core of
// the client said is within them.
func ExampleError() {
	address, stop := exampleServer() // localhost:9092
	defer stop()
	p, err := kafka.NewProducer(&kafka.ConfigMap{"bootstrap.servers": address})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	advice := map[kafka.ErrorCode]string{
		kafka.ErrUnknownTopicOrPart: "create it first",
		kafka.ErrTransport:          "try again later",
	}
	_, _, err = p.QueryWatermarkOffsets("none", 0, 5000)
	if e, ok := err.(kafka.Error); ok {
		fmt.Println(advice[e.Code()], e.IsRetriable(), e.IsFatal())
	}
	fmt.Println(errors.Is(err, ropewalk.ReasonTopicNotFound))
	// Output:
	// create it first false false
	// true
}

// What producers, consumers and administrators log can go to a channel.
func ExampleLogEvent() {
	address, stop := exampleServer() // localhost:9092
	defer stop()
	logs := make(chan kafka.LogEvent, 100)
	p, err := kafka.NewProducer(&kafka.ConfigMap{
		"bootstrap.servers":      address,
		"go.logs.channel.enable": true,
		"go.logs.channel":        logs,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Logs() == logs)
	p.Close()
	for len(logs) > 0 {
		line := <-logs
		log.Println(line.Name, line.Level, line.Message)
	}
	// Output: true
}

// Producers, consumers and administrators are Handles.
func ExampleHandle() {
	address, stop := exampleServer() // localhost:9092
	defer stop()
	p, err := kafka.NewProducer(&kafka.ConfigMap{"bootstrap.servers": address})
	if err != nil {
		log.Fatal(err)
	}
	var handle kafka.Handle = p
	fmt.Println(handle.IsClosed())
	p.Close()
	fmt.Println(handle.IsClosed())
	// Output:
	// false
	// true
}
