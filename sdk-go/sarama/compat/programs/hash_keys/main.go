// Places keys with each of the partitioners that hash.
package main

import (
	"fmt"
	"hash/crc32"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

const topic = "hash-keys"

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	admin, err := sarama.NewClusterAdmin(brokers, nil)
	if err != nil {
		log.Fatal(err)
	}
	detail := &sarama.TopicDetail{NumPartitions: 17, ReplicationFactor: 1}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		log.Fatal(err)
	}
	if err := admin.Close(); err != nil {
		log.Fatal(err)
	}
	for _, p := range []struct {
		name string
		make sarama.PartitionerConstructor
	}{
		{"fnv", sarama.NewHashPartitioner},
		{"reference", sarama.NewReferenceHashPartitioner},
		{"crc", sarama.NewConsistentCRCHashPartitioner},
		{"custom", sarama.NewCustomHashPartitioner(crc32.NewIEEE)},
		{"options", sarama.NewCustomPartitioner(
			sarama.WithAbsFirst(), sarama.WithCustomHashFunction(crc32.NewIEEE))},
	} {
		config := sarama.NewConfig()
		config.Producer.Return.Successes = true
		config.Producer.Partitioner = p.make
		producer, err := sarama.NewSyncProducer(brokers, config)
		if err != nil {
			log.Fatal(err)
		}
		var placed []int32
		for _, key := range []string{"", "a", "user-42", "Zürich", "\x00\xff\x80", "a longer key than others"} {
			partition, _, err := producer.SendMessage(&sarama.ProducerMessage{
				Topic: topic, Key: sarama.StringEncoder(key), Value: sarama.StringEncoder("x"),
			})
			if err != nil {
				log.Fatal(err)
			}
			placed = append(placed, partition)
		}
		fmt.Println(p.name, placed, producer.Close())
	}
}

// Output:
// fnv [0 16 10 1 12 2] <nil>
// reference [9 10 10 8 12 7] <nil>
// crc [0 9 5 11 3 13] <nil>
// custom [0 9 5 7 15 13] <nil>
// options [0 0 5 2 11 13] <nil>
