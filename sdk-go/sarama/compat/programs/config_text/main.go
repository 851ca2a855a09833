// Reads its settings from YAML and from JSON.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"go.yaml.in/yaml/v3"
)

type settings struct {
	Brokers     []string                `json:"brokers" yaml:"brokers"`
	Version     string                  `json:"version" yaml:"version"`
	ClientID    string                  `json:"client_id" yaml:"client_id"`
	Acks        int16                   `json:"acks" yaml:"acks"`
	Compression sarama.CompressionCodec `json:"compression" yaml:"compression"`
	Flush       time.Duration           `json:"flush" yaml:"flush"`
	Retries     int                     `json:"retries" yaml:"retries"`
}

const asYAML = `
version: 2.6.0
client_id: from-yaml
acks: -1
compression: zstd
flush: 5ms
retries: 7
`

const asJSON = `{"version": "3.3.1", "client_id": "from-json", "acks": 1, "compression": "lz4",
"flush": 1000000, "retries": 0}`

func (s settings) config() (*sarama.Config, error) {
	version, err := sarama.ParseKafkaVersion(s.Version)
	if err != nil {
		return nil, err
	}
	c := sarama.NewConfig()
	c.Version = version
	c.ClientID = s.ClientID
	c.Producer.RequiredAcks = sarama.RequiredAcks(s.Acks)
	c.Producer.Compression = s.Compression
	c.Producer.Flush.Frequency = s.Flush
	c.Producer.Retry.Max = s.Retries
	c.Producer.Return.Successes = true
	return c, c.Validate()
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	var first, second settings
	if err := yaml.Unmarshal([]byte(asYAML), &first); err != nil {
		log.Fatal(err)
	}
	if err := json.Unmarshal([]byte(asJSON), &second); err != nil {
		log.Fatal(err)
	}
	for _, s := range []settings{first, second} {
		config, err := s.config()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(config.ClientID, config.Version, config.Version.IsAtLeast(sarama.V3_0_0_0),
			config.Producer.Compression, config.Producer.RequiredAcks == sarama.WaitForAll)
		producer, err := sarama.NewSyncProducer(brokers, config)
		if err != nil {
			log.Fatal(err)
		}
		_, offset, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: "config-text", Value: sarama.StringEncoder("x"),
		})
		fmt.Println(offset, err, producer.Close())
	}
	_, err := sarama.ParseKafkaVersion("two point one")
	fmt.Println("no version:", err != nil)
	text, err := json.Marshal(second.Compression)
	fmt.Println(string(text), err)
}

// Output:
// from-yaml 2.6.0 false zstd true
// 0 <nil> <nil>
// from-json 3.3.1 true lz4 false
// 1 <nil> <nil>
// no version: true
// "lz4" <nil>
