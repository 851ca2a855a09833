// Asks over one topic and is answered over another, by a number in the headers.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

const requests, replies = "request-reply-requests", "request-reply-replies"

func number(headers []*sarama.RecordHeader) string {
	for _, header := range headers {
		if string(header.Key) == "correlation" {
			return string(header.Value)
		}
	}
	return ""
}

func main() {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	client, err := sarama.NewClient(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	admin, err := sarama.NewClusterAdmin(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	for _, topic := range []string{requests, replies} {
		detail := &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}
		if err := admin.CreateTopic(topic, detail, false); err != nil {
			log.Fatal(err)
		}
	}
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	asked, err := consumer.ConsumePartition(requests, 0, sarama.OffsetNewest)
	if err != nil {
		log.Fatal(err)
	}
	answered, err := consumer.ConsumePartition(replies, 0, sarama.OffsetNewest)
	if err != nil {
		log.Fatal(err)
	}

	send := func(topic, correlation, text string) {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: topic, Value: sarama.StringEncoder(text),
			Headers: []sarama.RecordHeader{{Key: []byte("correlation"), Value: []byte(correlation)}},
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for request := range asked.Messages() {
			send(replies, number(request.Headers), strings.ToUpper(string(request.Value)))
		}
	}()
	for i, text := range []string{"how", "are", "you"} {
		send(requests, fmt.Sprint(i), text)
		reply := <-answered.Messages()
		fmt.Println(number(reply.Headers), string(reply.Value))
	}
	fmt.Println(asked.Close(), answered.Close(), consumer.Close())
	<-done
}

// Output:
// 0 HOW
// 1 ARE
// 2 YOU
// <nil> <nil> <nil>
