// Carries a trace through message headers, with carriers as tracing libraries want them.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

type producerCarrier struct{ message *sarama.ProducerMessage }

func (c producerCarrier) Get(key string) string {
	for _, h := range c.message.Headers {
		if string(h.Key) == key {
			return string(h.Value)
		}
	}
	return ""
}

func (c producerCarrier) Set(key, value string) {
	for i := 0; i < len(c.message.Headers); i++ {
		if string(c.message.Headers[i].Key) == key {
			c.message.Headers = append(c.message.Headers[:i], c.message.Headers[i+1:]...)
			i--
		}
	}
	c.message.Headers = append(c.message.Headers, sarama.RecordHeader{
		Key: []byte(key), Value: []byte(value),
	})
}

type consumerCarrier struct{ message *sarama.ConsumerMessage }

func (c consumerCarrier) Get(key string) string {
	for _, h := range c.message.Headers {
		if h != nil && string(h.Key) == key {
			return string(h.Value)
		}
	}
	return ""
}

func (c consumerCarrier) Keys() []string {
	keys := make([]string, len(c.message.Headers))
	for i, h := range c.message.Headers {
		keys[i] = string(h.Key)
	}
	return keys
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Version = sarama.V0_11_0_0
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	message := &sarama.ProducerMessage{
		Topic: "header-tracing", Value: sarama.StringEncoder("traced"),
		Headers: []sarama.RecordHeader{{Key: []byte("traceparent"), Value: []byte("old")}},
	}
	carrier := producerCarrier{message}
	carrier.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	carrier.Set("baggage", "user=7")
	carrier.Set("empty", "")
	fmt.Println(carrier.Get("traceparent"))
	if _, _, err := producer.SendMessage(message); err != nil {
		log.Fatal(err)
	}

	consumer, err := sarama.NewConsumer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition("header-tracing", 0, sarama.OffsetOldest)
	if err != nil {
		log.Fatal(err)
	}
	defer partition.Close()
	received := consumerCarrier{<-partition.Messages()}
	fmt.Println(received.Keys())
	fmt.Println(received.Get("traceparent"), received.Get("baggage"), len(received.Get("empty")))
}

// Output:
// 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
// [traceparent baggage empty]
// 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 user=7 0
