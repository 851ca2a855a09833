package sarama_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func TestDefaultsAreValid(t *testing.T) {
	if err := sarama.NewConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateRefuses(t *testing.T) {
	for name, change := range map[string]func(*sarama.Config){
		"dial timeout":       func(c *sarama.Config) { c.Net.DialTimeout = 0 },
		"metadata retries":   func(c *sarama.Config) { c.Metadata.Retry.Max = -1 },
		"metadata backoff":   func(c *sarama.Config) { c.Metadata.Retry.Backoff = -1 },
		"no message bytes":   func(c *sarama.Config) { c.Producer.MaxMessageBytes = 0 },
		"many message bytes": func(c *sarama.Config) { c.Producer.MaxMessageBytes = 4 << 20 },
		"acks below":         func(c *sarama.Config) { c.Producer.RequiredAcks = -2 },
		"acks above":         func(c *sarama.Config) { c.Producer.RequiredAcks = 2 },
		"idempotent, acks":   func(c *sarama.Config) { c.Producer.Idempotent = true },
		"idempotent, no retries": func(c *sarama.Config) {
			c.Producer.Idempotent, c.Producer.RequiredAcks = true, sarama.WaitForAll
			c.Producer.Retry.Max = 0
		},
		"timeout": func(c *sarama.Config) { c.Producer.Timeout = 0 },
		"codec":   func(c *sarama.Config) { c.Producer.Compression = 9 },
		"level": func(c *sarama.Config) {
			c.Producer.Compression, c.Producer.CompressionLevel = sarama.CompressionGZIP, 10
		},
		"no level":         func(c *sarama.Config) { c.Producer.CompressionLevel = 1 },
		"partitioner":      func(c *sarama.Config) { c.Producer.Partitioner = nil },
		"retries":          func(c *sarama.Config) { c.Producer.Retry.Max = -1 },
		"backoff":          func(c *sarama.Config) { c.Producer.Retry.Backoff = -1 },
		"no fetch":         func(c *sarama.Config) { c.Consumer.Fetch.Default = 0 },
		"large fetch":      func(c *sarama.Config) { c.Consumer.Fetch.Default = 4 << 20 },
		"consumer backoff": func(c *sarama.Config) { c.Consumer.Retry.Backoff = -1 },
		"channel":          func(c *sarama.Config) { c.ChannelBufferSize = -1 },
		"client id":        func(c *sarama.Config) { c.ClientID = "a\n" },
	} {
		config := sarama.NewConfig()
		change(config)
		var want sarama.ConfigurationError
		if err := config.Validate(); !errors.As(err, &want) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := sarama.NewConsumer([]string{"127.0.0.1:1"}, config); !errors.As(err, &want) {
			t.Errorf("%s: NewConsumer gave %v", name, err)
		}
	}
}

// Whatever a program may reasonably set makes a producer: no combination trips over the core's
// checks.
func TestProducerSettings(t *testing.T) {
	addrs := []string{newServer(t).Address()}
	for name, change := range map[string]func(*sarama.Config){
		"no retries":   func(c *sarama.Config) { c.Producer.Retry.Max = 0 },
		"many retries": func(c *sarama.Config) { c.Producer.Retry.Max = 1 << 30 },
		"long timeout": func(c *sarama.Config) { c.Producer.Timeout = 10000 * time.Hour },
		"long backoff": func(c *sarama.Config) { c.Producer.Retry.Backoff = 10000 * time.Hour },
		"function": func(c *sarama.Config) {
			c.Producer.Retry.BackoffFunc = func(int, int) time.Duration { return time.Millisecond }
		},
		"no response": func(c *sarama.Config) { c.Producer.RequiredAcks = sarama.NoResponse },
		"idempotent": func(c *sarama.Config) {
			c.Producer.Idempotent, c.Producer.RequiredAcks = true, sarama.WaitForAll
			c.Net.MaxOpenRequests = 1
		},
		"local": func(c *sarama.Config) { c.Producer.RequiredAcks = sarama.WaitForLocal },
		"compression": func(c *sarama.Config) {
			c.Producer.Compression, c.Producer.CompressionLevel = sarama.CompressionZSTD, 19
		},
		"round robin": func(c *sarama.Config) { c.Producer.Partitioner = sarama.NewRoundRobinPartitioner },
	} {
		config := testConfig()
		change(config)
		producer, err := sarama.NewSyncProducer(addrs, config)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		closing(t, producer)
	}
}
