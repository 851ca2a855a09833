// Builds its state from the events of a topic, up to where the topic ended when it began.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

const topic = "event-sourcing"

type event struct {
	Account string `json:"account"`
	Amount  int    `json:"amount"`
}

type store struct {
	client   sarama.Client
	producer sarama.SyncProducer
	balances map[string]int
	next     int64
}

func (s *store) append(e event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, _, err = s.producer.SendMessage(&sarama.ProducerMessage{
		Topic: topic, Key: sarama.StringEncoder(e.Account), Value: sarama.ByteEncoder(text),
	})
	return err
}

// replay reads what was appended since the last time.
func (s *store) replay() error {
	end, err := s.client.GetOffset(topic, 0, sarama.OffsetNewest)
	if err != nil || s.next >= end {
		return err
	}
	consumer, err := sarama.NewConsumerFromClient(s.client)
	if err != nil {
		return err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, s.next)
	if err != nil {
		return err
	}
	defer partition.Close()
	for s.next < end {
		message := <-partition.Messages()
		var e event
		if err := json.Unmarshal(message.Value, &e); err != nil {
			return err
		}
		s.balances[e.Account] += e.Amount
		s.next = message.Offset + 1
	}
	return nil
}

func main() {
	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Return.Successes = true
	client, err := sarama.NewClient(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()

	first := &store{client, producer, map[string]int{}, 0}
	for i := range 30 {
		if err := first.append(event{fmt.Sprint("account ", i%3), i}); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(first.replay(), first.balances, first.next)
	if err := first.append(event{"account 0", -100}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(first.replay(), first.balances, first.next)
	second := &store{client, producer, map[string]int{}, 0}
	fmt.Println(second.replay(), second.balances, second.next)
}

// Output:
// <nil> map[account 0:135 account 1:145 account 2:155] 30
// <nil> map[account 0:35 account 1:145 account 2:155] 31
// <nil> map[account 0:35 account 1:145 account 2:155] 31
