// Pauses a partition while its own queue is full, and resumes it when it is not.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.ChannelBufferSize = 0
	client, err := sarama.NewClient(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	send := func(text string) {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: "pause-by-lag", Value: sarama.StringEncoder(text),
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	send("before")

	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition("pause-by-lag", 0, sarama.OffsetOldest)
	if err != nil {
		log.Fatal(err)
	}
	defer partition.Close()
	fmt.Println("got", string((<-partition.Messages()).Value))

	partition.Pause()
	fmt.Println("paused", partition.IsPaused())
	partition.Resume()
	consumer.PauseAll()
	fmt.Println("paused", partition.IsPaused())
	consumer.Resume(map[string][]int32{"pause-by-lag": {0}})
	fmt.Println("paused", partition.IsPaused())
	consumer.Pause(map[string][]int32{"pause-by-lag": {0}, "another": {3}})
	fmt.Println("paused", partition.IsPaused())
	// What was asked for before the pause may still come, and what is produced a while later not.
	time.Sleep(time.Second)
	for i := range 3 {
		send(fmt.Sprint("while paused ", i))
	}
	select {
	case message := <-partition.Messages():
		fmt.Println("came although it was paused:", string(message.Value))
	case <-time.After(time.Second):
		fmt.Println("nothing came")
	}
	consumer.ResumeAll()
	for range 3 {
		fmt.Println("got", string((<-partition.Messages()).Value))
	}
	newest, err := client.GetOffset("pause-by-lag", 0, sarama.OffsetNewest)
	fmt.Println("lag", newest-4, err, partition.HighWaterMarkOffset() == newest)
}

// Output:
// got before
// paused true
// paused true
// paused false
// paused true
// nothing came
// got while paused 0
// got while paused 1
// got while paused 2
// lag 0 <nil> true
