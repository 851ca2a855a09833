// Sets back what a group has committed, as an operator does before it reads again.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

const topic, group = "reset-offsets", "reset-offsets-group"

func main() {
	config := sarama.NewConfig()
	config.Version = sarama.V2_4_0_0
	config.Producer.Return.Successes = true
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	for range 5 {
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic}); err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		log.Fatal(err)
	}
	admin, err := sarama.NewClusterAdmin(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()

	committed := func() {
		offsets, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}})
		if err != nil {
			log.Fatal(err)
		}
		block := offsets.GetBlock(topic, 0)
		fmt.Printf("committed %d %q\n", block.Offset, block.Metadata)
	}
	alter := func(offset int64, metadata string) {
		result, err := admin.AlterConsumerGroupOffsets(group,
			map[string]map[int32]sarama.OffsetAndMetadata{
				topic: {0: {Offset: offset, Metadata: metadata, LeaderEpoch: -1}},
			}, nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("altered:", result.Errors[topic][0] == sarama.ErrNoError)
	}
	committed()
	alter(4, "forward")
	committed()
	alter(1, "back")
	committed()
	_, err = admin.AlterConsumerGroupOffsets(group, nil, nil)
	var configuration sarama.ConfigurationError
	fmt.Println("nothing to alter:", errors.As(err, &configuration))
	fmt.Println("deleted:", admin.DeleteConsumerGroupOffset(group, topic, 0))
	committed()
}

// Output:
// committed -1 ""
// altered: true
// committed 4 "forward"
// altered: true
// committed 1 "back"
// nothing to alter: true
// deleted: <nil>
// committed -1 ""
