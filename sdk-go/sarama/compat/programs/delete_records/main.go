// Deletes the old records of a partition, and finds what is left.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

const topic = "delete-records"

func main() {
	config := sarama.NewConfig()
	config.Version = sarama.V2_0_0_0
	config.Producer.Return.Successes = true
	client, err := sarama.NewClient(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		log.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	for i := range 10 {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: topic, Value: sarama.StringEncoder(fmt.Sprint(i)),
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		log.Fatal(err)
	}

	bounds := func() {
		oldest, err := client.GetOffset(topic, 0, sarama.OffsetOldest)
		if err != nil {
			log.Fatal(err)
		}
		newest, err := client.GetOffset(topic, 0, sarama.OffsetNewest)
		fmt.Println("from", oldest, "to", newest, err)
	}
	bounds()
	fmt.Println(admin.DeleteRecords(topic, map[int32]int64{0: 6}))
	bounds()

	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	_, err = consumer.ConsumePartition(topic, 0, 3)
	fmt.Println("too old:", err == sarama.ErrOffsetOutOfRange)
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("first is", (<-partition.Messages()).Offset)
	if err := partition.Close(); err != nil {
		log.Fatal(err)
	}

	err = admin.DeleteRecords(topic, map[int32]int64{0: 1000})
	fmt.Println("too new:", errors.Is(err, sarama.ErrDeleteRecords),
		errors.Is(err, sarama.ErrOffsetOutOfRange))
	fmt.Println(admin.DeleteRecords(topic, map[int32]int64{0: -1}))
	bounds()
	fmt.Println("no topic:", admin.DeleteRecords("", nil) == sarama.ErrInvalidTopic)
}

// Output:
// from 0 to 10 <nil>
// <nil>
// from 6 to 10 <nil>
// too old: true
// first is 6
// too new: true true
// <nil>
// from 10 to 10 <nil>
// no topic: true
