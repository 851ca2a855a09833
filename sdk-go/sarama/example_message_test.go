package sarama_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// entry is a value that encodes itself, once, when it is sent.
type entry struct {
	Path   string `json:"path"`
	Status int    `json:"status"`

	encoded []byte
	err     error
}

func (e *entry) encode() {
	if e.encoded == nil && e.err == nil {
		e.encoded, e.err = json.Marshal(e)
	}
}

// Encode returns the bytes of the value.
func (e *entry) Encode() ([]byte, error) {
	e.encode()
	return e.encoded, e.err
}

// Length returns their number.
func (e *entry) Length() int {
	e.encode()
	return len(e.encoded)
}

// A type that is an Encoder is sent as it is.
func ExampleEncoder() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()
	producer, err := sarama.NewSyncProducer(addrs, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	var value sarama.Encoder = &entry{Path: "/prices", Status: 200}
	_, offset, err := producer.SendMessage(&sarama.ProducerMessage{
		Topic:     "access_log",
		Key:       sarama.ByteEncoder{10, 0, 0, 7},
		Value:     value,
		Headers:   []sarama.RecordHeader{{Key: []byte("host"), Value: []byte("web-1")}},
		Timestamp: time.Now(),
	})
	fmt.Println(offset, err, value.Length(), "bytes")
	// Output: 0 <nil> 31 bytes
}

// urgentFirst has a partition for what is urgent: messages with a key stay where they belong,
// others may go elsewhere while that has no leader.
type urgentFirst struct{ others sarama.Partitioner }

var _ sarama.DynamicConsistencyPartitioner = urgentFirst{}

func (u urgentFirst) Partition(m *sarama.ProducerMessage, partitions int32) (int32, error) {
	if m.Metadata == "urgent" || partitions == 1 {
		return 0, nil
	}
	other, err := u.others.Partition(m, partitions-1)
	return other + 1, err
}

func (urgentFirst) RequiresConsistency() bool { return true }

func (urgentFirst) MessageRequiresConsistency(m *sarama.ProducerMessage) bool {
	return m.Key != nil
}

// A partitioner of the program's own, on one of those that are there.
func ExamplePartitioner() {
	hashed := []sarama.HashPartitionerOption{
		sarama.WithAbsFirst(), sarama.WithCustomHashFunction(fnv.New32a),
	}
	var constructor sarama.PartitionerConstructor = func(topic string) sarama.Partitioner {
		return urgentFirst{sarama.NewCustomPartitioner(hashed...)(topic)}
	}
	config := sarama.NewConfig()
	config.Producer.Partitioner = constructor
	if err := config.Validate(); err != nil {
		log.Fatal(err)
	}

	place := constructor("alarms")
	for _, message := range []*sarama.ProducerMessage{
		{Topic: "alarms", Metadata: "urgent"},
		{Topic: "alarms", Key: sarama.StringEncoder("door")},
	} {
		partition, err := place.Partition(message, 8)
		fmt.Println("first:", partition == 0, err)
	}
	// Output:
	// first: true <nil>
	// first: false <nil>
}

// trail leaves its mark on what is sent, and looks for it on what is read.
type trail struct{ program string }

var (
	_ sarama.ProducerInterceptor = trail{}
	_ sarama.ConsumerInterceptor = trail{}
)

// OnSend is called before the message is placed.
func (t trail) OnSend(m *sarama.ProducerMessage) {
	m.Headers = append(m.Headers, sarama.RecordHeader{
		Key: []byte("sent-by"), Value: []byte(t.program),
	})
}

// OnConsume is called before the message is delivered.
func (t trail) OnConsume(m *sarama.ConsumerMessage) {
	for _, header := range m.Headers {
		fmt.Printf("%s: %s\n", header.Key, header.Value)
	}
}

func ExampleProducerInterceptor() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.Interceptors = []sarama.ProducerInterceptor{trail{"shop"}}
	config.Consumer.Interceptors = []sarama.ConsumerInterceptor{trail{"billing"}}
	client, err := sarama.NewClient(addrs, config)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	order := &sarama.ProducerMessage{Topic: "orders", Value: sarama.StringEncoder("12")}
	if _, _, err := producer.SendMessage(order); err != nil {
		log.Fatal(err)
	}

	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	orders, err := consumer.ConsumePartition("orders", 0, sarama.OffsetOldest)
	if err != nil {
		log.Fatal(err)
	}
	defer orders.Close()
	fmt.Printf("%s\n", (<-orders.Messages()).Value)
	// Output:
	// sent-by: shop
	// 12
}

// Errors of the broker have Kafka's numbers; they can be compared, and found in what wraps them.
func ExampleKError() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()
	admin, err := sarama.NewClusterAdmin(addrs, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	err = admin.DeleteTopic("none")
	var code sarama.KError
	if errors.As(err, &code) {
		fmt.Println(int16(code), code == sarama.ErrUnknownTopicOrPartition)
	}
	// Output: 3 true
}

// What could not be sent of many messages, each with its error.
func ExampleProducerErrors() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()
	producer, err := sarama.NewSyncProducer(addrs, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	err = producer.SendMessages([]*sarama.ProducerMessage{
		{Topic: "orders", Value: sarama.StringEncoder("12")},
		{Topic: "no such name", Value: sarama.StringEncoder("13")},
	})
	explain := func(failure *sarama.ProducerError) {
		fmt.Println(failure.Msg.Topic, errors.Is(failure, sarama.ErrInvalidTopic))
	}
	var failures sarama.ProducerErrors
	if errors.As(err, &failures) {
		for _, failure := range failures {
			explain(failure)
		}
	}
	// Output: no such name true
}
