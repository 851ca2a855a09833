// Producers that compress each in its way, into one topic.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	text := strings.Repeat("all work and no play ", 200)
	for _, c := range []struct {
		codec sarama.CompressionCodec
		level int
	}{
		{sarama.CompressionNone, sarama.CompressionLevelDefault},
		{sarama.CompressionGZIP, 9},
		{sarama.CompressionSnappy, sarama.CompressionLevelDefault},
		{sarama.CompressionLZ4, sarama.CompressionLevelDefault},
		{sarama.CompressionZSTD, 3},
	} {
		config := sarama.NewConfig()
		config.Version = sarama.V2_1_0_0
		config.Producer.Return.Successes = true
		config.Producer.Compression = c.codec
		config.Producer.CompressionLevel = c.level
		producer, err := sarama.NewSyncProducer(brokers, config)
		if err != nil {
			log.Fatal(err)
		}
		var batch []*sarama.ProducerMessage
		for i := range 20 {
			batch = append(batch, &sarama.ProducerMessage{
				Topic: "compression", Key: sarama.StringEncoder(c.codec.String()),
				Value: sarama.StringEncoder(fmt.Sprint(text, i)),
			})
		}
		if err := producer.SendMessages(batch); err != nil {
			log.Fatal(err)
		}
		if err := producer.Close(); err != nil {
			log.Fatal(err)
		}
	}

	consumer, err := sarama.NewConsumer(brokers, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition("compression", 0, sarama.OffsetOldest)
	if err != nil {
		log.Fatal(err)
	}
	defer partition.Close()
	for i := range 100 {
		message := <-partition.Messages()
		if string(message.Value) != fmt.Sprint(text, i%20) || message.Offset != int64(i) {
			log.Fatalf("message %d came as %d: %s", i, message.Offset, message.Value)
		}
		if i%20 == 19 {
			fmt.Println("20 of", string(message.Key))
		}
	}

	var codec sarama.CompressionCodec
	fmt.Println(codec.UnmarshalText([]byte("zstd")), codec, codec == sarama.CompressionZSTD)
	fmt.Println(codec.UnmarshalText([]byte("brotli")) != nil)
}

// Output:
// 20 of none
// 20 of gzip
// 20 of snappy
// 20 of lz4
// 20 of zstd
// <nil> zstd true
// true
