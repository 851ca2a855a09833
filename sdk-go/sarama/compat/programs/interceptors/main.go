// Interceptors that add a header to what is sent, and look at what arrives.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

type stamp struct{ name string }

func (s stamp) OnSend(message *sarama.ProducerMessage) {
	message.Headers = append(message.Headers, sarama.RecordHeader{
		Key: []byte("stamp"), Value: []byte(s.name),
	})
}

type upper struct{}

func (upper) OnSend(message *sarama.ProducerMessage) {
	value, _ := message.Value.Encode()
	message.Value = sarama.StringEncoder(strings.ToUpper(string(value)))
}

type panicking struct{}

func (panicking) OnSend(*sarama.ProducerMessage)    { panic("not today") }
func (panicking) OnConsume(*sarama.ConsumerMessage) { panic("not today") }

type counting struct{ seen map[string]int }

func (c counting) OnConsume(message *sarama.ConsumerMessage) {
	for _, header := range message.Headers {
		c.seen[string(header.Value)]++
	}
	message.Value = append(message.Value, '!')
}

func main() {
	sarama.Logger = log.New(os.Stderr, "[sarama] ", log.LstdFlags)
	seen := counting{map[string]int{}}
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.Interceptors = []sarama.ProducerInterceptor{
		stamp{"first"}, panicking{}, upper{}, stamp{"second"},
	}
	config.Consumer.Interceptors = []sarama.ConsumerInterceptor{panicking{}, seen}

	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	for _, text := range []string{"one", "two"} {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: "interceptors", Value: sarama.StringEncoder(text),
		})
		if err != nil {
			log.Fatal(err)
		}
	}

	consumer, err := sarama.NewConsumer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition("interceptors", 0, sarama.OffsetOldest)
	if err != nil {
		log.Fatal(err)
	}
	defer partition.Close()
	for range 2 {
		message := <-partition.Messages()
		var headers []string
		for _, header := range message.Headers {
			headers = append(headers, string(header.Key)+"="+string(header.Value))
		}
		fmt.Println(string(message.Value), headers)
	}
	fmt.Println("seen:", seen.seen["first"] >= 2, seen.seen["second"] >= 2)
}

// Output:
// ONE! [stamp=first stamp=second]
// TWO! [stamp=first stamp=second]
// seen: true true
