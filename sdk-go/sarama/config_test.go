package sarama_test

import (
	"crypto/tls"
	"log"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func TestDefaultsAreValid(t *testing.T) {
	if err := sarama.NewConfig().Validate(); err != nil {
		t.Error(err)
	}
}

// refusals are changes of a config, by what Validate says to them.
var refusals = map[string]func(*sarama.Config){
	"Net.MaxOpenRequests must be > 0": func(c *sarama.Config) { c.Net.MaxOpenRequests = 0 },
	"Net.DialTimeout must be > 0":     func(c *sarama.Config) { c.Net.DialTimeout = 0 },
	"Net.ReadTimeout must be > 0":     func(c *sarama.Config) { c.Net.ReadTimeout = 0 },
	"Net.WriteTimeout must be > 0":    func(c *sarama.Config) { c.Net.WriteTimeout = 0 },
	"Net.SASL.Enable must be false: brokers have no authentication yet": func(c *sarama.Config) {
		c.Net.SASL.Enable = true
	},
	"Net.Proxy.Dialer must not be nil when Net.Proxy.Enable is set": func(c *sarama.Config) {
		c.Net.Proxy.Enable = true
	},
	"Admin.Timeout must be > 0":           func(c *sarama.Config) { c.Admin.Timeout = 0 },
	"Metadata.Retry.Max must be >= 0":     func(c *sarama.Config) { c.Metadata.Retry.Max = -1 },
	"Metadata.Retry.Backoff must be >= 0": func(c *sarama.Config) { c.Metadata.Retry.Backoff = -1 },
	"Metadata.RefreshFrequency must be >= 0": func(c *sarama.Config) {
		c.Metadata.RefreshFrequency = -1
	},
	"Producer.MaxMessageBytes must be > 0": func(c *sarama.Config) { c.Producer.MaxMessageBytes = 0 },
	"Producer.MaxMessageBytes must be <= 3670016, the most a record may have": func(c *sarama.Config) {
		c.Producer.MaxMessageBytes = 4 << 20
	},
	"Producer.RequiredAcks must be >= -1": func(c *sarama.Config) { c.Producer.RequiredAcks = -2 },
	"Producer.RequiredAcks must be <= 1: instead of a number of replicas, use WaitForAll": func(c *sarama.Config) {
		c.Producer.RequiredAcks = 2
	},
	"Producer.Timeout must be > 0":         func(c *sarama.Config) { c.Producer.Timeout = 0 },
	"Producer.Partitioner must not be nil": func(c *sarama.Config) { c.Producer.Partitioner = nil },
	"Producer.Flush.Bytes must be >= 0":    func(c *sarama.Config) { c.Producer.Flush.Bytes = -1 },
	"Producer.Flush.Messages must be >= 0": func(c *sarama.Config) { c.Producer.Flush.Messages = -1 },
	"Producer.Flush.Frequency must be >= 0": func(c *sarama.Config) {
		c.Producer.Flush.Frequency = -1
	},
	"Producer.Flush.MaxMessages must be >= 0": func(c *sarama.Config) {
		c.Producer.Flush.MaxMessages = -1
	},
	"Producer.Flush.MaxMessages must be >= Producer.Flush.Messages when set": func(c *sarama.Config) {
		c.Producer.Flush.MaxMessages, c.Producer.Flush.Messages = 1, 2
	},
	"Producer.Retry.Max must be >= 0":     func(c *sarama.Config) { c.Producer.Retry.Max = -1 },
	"Producer.Retry.Backoff must be >= 0": func(c *sarama.Config) { c.Producer.Retry.Backoff = -1 },
	"Producer.Interceptors must not contain nil": func(c *sarama.Config) {
		c.Producer.Interceptors = []sarama.ProducerInterceptor{nil}
	},
	"Producer.Compression must be one of the codecs": func(c *sarama.Config) {
		c.Producer.Compression = 9
	},
	"lz4 compression requires Version >= V0_10_0_0": func(c *sarama.Config) {
		c.Producer.Compression, c.Version = sarama.CompressionLZ4, sarama.V0_9_0_1
	},
	"zstd compression requires Version >= V2_1_0_0": func(c *sarama.Config) {
		c.Producer.Compression, c.Version = sarama.CompressionZSTD, sarama.V2_0_1_0
	},
	"Idempotent producer requires Version >= V0_11_0_0": func(c *sarama.Config) {
		c.Producer.Idempotent, c.Version = true, sarama.V0_10_2_2
	},
	"Idempotent producer requires Producer.Retry.Max >= 1": func(c *sarama.Config) {
		c.Producer.Idempotent, c.Producer.Retry.Max = true, 0
	},
	"Idempotent producer requires Producer.RequiredAcks to be WaitForAll": func(c *sarama.Config) {
		c.Producer.Idempotent = true
	},
	"Idempotent producer requires Net.MaxOpenRequests to be 1": func(c *sarama.Config) {
		c.Producer.Idempotent, c.Producer.RequiredAcks = true, sarama.WaitForAll
	},
	"Transactional producer requires Idempotent to be true": func(c *sarama.Config) {
		c.Producer.Transaction.ID = "x"
	},
	"Consumer.Fetch.Min must be > 0":      func(c *sarama.Config) { c.Consumer.Fetch.Min = 0 },
	"Consumer.Fetch.Default must be > 0":  func(c *sarama.Config) { c.Consumer.Fetch.Default = 0 },
	"Consumer.Fetch.Max must be >= 0":     func(c *sarama.Config) { c.Consumer.Fetch.Max = -1 },
	"Consumer.Fetch.MaxBytes must be > 0": func(c *sarama.Config) { c.Consumer.Fetch.MaxBytes = 0 },
	"Consumer.MaxWaitTime must be >= 1ms": func(c *sarama.Config) {
		c.Consumer.MaxWaitTime = 999 * time.Microsecond
	},
	"Consumer.MaxProcessingTime must be > 0": func(c *sarama.Config) {
		c.Consumer.MaxProcessingTime = 0
	},
	"Consumer.Retry.Backoff must be >= 0": func(c *sarama.Config) { c.Consumer.Retry.Backoff = -1 },
	"Consumer.Retry.Max must be >= 0":     func(c *sarama.Config) { c.Consumer.Retry.Max = -1 },
	"Consumer.Offsets.AutoCommit.Interval must be > 0": func(c *sarama.Config) {
		c.Consumer.Offsets.AutoCommit.Interval = 0
	},
	"Consumer.Offsets.Initial must be OffsetOldest or OffsetNewest": func(c *sarama.Config) {
		c.Consumer.Offsets.Initial = 0
	},
	"Consumer.Offsets.Retry.Max must be >= 0": func(c *sarama.Config) {
		c.Consumer.Offsets.Retry.Max = -1
	},
	"Consumer.IsolationLevel must be ReadUncommitted or ReadCommitted": func(c *sarama.Config) {
		c.Consumer.IsolationLevel = 2
	},
	"ReadCommitted requires Version >= V0_11_0_0": func(c *sarama.Config) {
		c.Consumer.IsolationLevel, c.Version = sarama.ReadCommitted, sarama.V0_10_2_2
	},
	"Consumer.Interceptors must not contain nil": func(c *sarama.Config) {
		c.Consumer.Interceptors = []sarama.ConsumerInterceptor{nil}
	},
	"Consumer.Group.Session.Timeout must be >= 2ms": func(c *sarama.Config) {
		c.Consumer.Group.Session.Timeout = 2 * time.Millisecond
	},
	"Consumer.Group.Session.Timeout must be <= 1h0m0s": func(c *sarama.Config) {
		c.Consumer.Group.Session.Timeout = time.Hour + 1
	},
	"Consumer.Group.Heartbeat.Interval must be >= 1ms": func(c *sarama.Config) {
		c.Consumer.Group.Heartbeat.Interval = 1
	},
	"Consumer.Group.Heartbeat.Interval must be < Consumer.Group.Session.Timeout": func(c *sarama.Config) {
		c.Consumer.Group.Heartbeat.Interval = c.Consumer.Group.Session.Timeout
	},
	"Consumer.Group.Heartbeat.Interval must be <= 5m0s": func(c *sarama.Config) {
		c.Consumer.Group.Heartbeat.Interval, c.Consumer.Group.Session.Timeout = 6*time.Minute, time.Hour
	},
	"Consumer.Group.Rebalance.GroupStrategies or Consumer.Group.Rebalance.Strategy must not be empty": func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.GroupStrategies = nil
	},
	"elements in Consumer.Group.Rebalance.Strategies must not be empty": func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{nil}
	},
	"Consumer.Group.Rebalance.Timeout must be >= 1ms": func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.Timeout = time.Millisecond
	},
	"Consumer.Group.Rebalance.Timeout must be <= 1h0m0s": func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.Timeout = time.Hour + 1
	},
	"Consumer.Group.Rebalance.Retry.Max must be >= 0": func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.Retry.Max = -1
	},
	"Consumer.Group.Rebalance.Retry.Backoff must be >= 0": func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.Retry.Backoff = -1
	},
	"Consumer.Group.Rebalance.GroupStrategies have no rebalance protocol that all of them know": func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{
			sarama.NewBalanceStrategyRange(), speaks{sarama.RebalanceProtocolCooperative},
		}
	},
	`balance strategy "speaks" has the rebalance protocol unknown(7), which does not exist`: func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{speaks{7}}
	},
	"cooperative balance strategies require Version >= 2.4": func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.Strategy = speaks{sarama.RebalanceProtocolCooperative}
		c.Version = sarama.V2_3_1_0
	},
	"Consumer.Group.InstanceId need Version >= 2.3": func(c *sarama.Config) {
		c.Consumer.Group.InstanceId, c.Version = "x", sarama.V2_2_2_0
	},
	`Group instance id cannot be "." or ".."`: func(c *sarama.Config) {
		c.Consumer.Group.InstanceId = ".."
	},
	"ChannelBufferSize must be >= 0": func(c *sarama.Config) { c.ChannelBufferSize = -1 },
	`ClientID value "a b" is not valid for Kafka versions before 1.0.0`: func(c *sarama.Config) {
		c.ClientID, c.Version = "a b", sarama.V0_11_0_2
	},
	"ClientID must have <= 249 bytes": func(c *sarama.Config) {
		c.ClientID = strings.Repeat("x", 250)
	},
	`ClientID value "\n" must be of ASCII characters that can be printed`: func(c *sarama.Config) {
		c.ClientID = "\n"
	},
}

// speaks is a strategy that knows a protocol.
type speaks struct{ protocol sarama.RebalanceProtocol }

func (speaks) Name() string { return "speaks" }

func (s speaks) SupportedProtocols() []sarama.RebalanceProtocol {
	return []sarama.RebalanceProtocol{s.protocol}
}

func (speaks) Plan(
	map[string]sarama.ConsumerGroupMemberMetadata, map[string][]int32,
) (sarama.BalanceStrategyPlan, error) {
	return nil, nil
}

func (speaks) AssignmentData(string, map[string][]int32, int32) ([]byte, error) { return nil, nil }

func TestValidateRefuses(t *testing.T) {
	for want, change := range refusals {
		config := sarama.NewConfig()
		change(config)
		if err := config.Validate(); err != sarama.ConfigurationError(want) {
			t.Errorf("got %v, want %s", err, want)
		}
		_, err := sarama.NewConsumer([]string{"127.0.0.1:1"}, config)
		if err != sarama.ConfigurationError(want) {
			t.Errorf("NewConsumer gave %v, want %s", err, want)
		}
	}
}

func TestValidateLevels(t *testing.T) {
	for codec, levels := range map[sarama.CompressionCodec][]int{
		sarama.CompressionNone: {}, sarama.CompressionSnappy: {}, sarama.CompressionLZ4: {},
		sarama.CompressionGZIP: {-1, 1, 9}, sarama.CompressionZSTD: {1, 9, 10, 19, 22},
	} {
		allowed := append(levels, sarama.CompressionLevelDefault)
		for _, level := range []int{-1001, -1000, -999, -2, -1, 0, 1, 9, 10, 19, 22, 23} {
			config := sarama.NewConfig()
			config.Producer.Compression, config.Producer.CompressionLevel = codec, level
			if err := config.Validate(); (err == nil) != slices.Contains(allowed, level) {
				t.Errorf("%v at level %d: %v", codec, level, err)
			}
		}
	}
}

// Names of members and clients, with what is wrong with them.
func TestValidateNames(t *testing.T) {
	for id, ok := range map[string]bool{
		"a": true, "A-1_b.c": true, strings.Repeat("x", 249): true,
		".": false, "a b": false, "ü": false, "a\n": false, strings.Repeat("x", 250): false,
	} {
		config := sarama.NewConfig()
		config.Consumer.Group.InstanceId = id
		if err := config.Validate(); (err == nil) != ok {
			t.Errorf("instance %q: %v", id, err)
		}
	}
	for id, ok := range map[string]bool{
		"": true, "my app/1.0 (x)": true, "ü": false, "a\tb": false, "\x7f": false,
	} {
		config := sarama.NewConfig()
		config.ClientID = id
		if err := config.Validate(); (err == nil) != ok {
			t.Errorf("client %q: %v", id, err)
		}
	}
}

// What is likely to be a mistake is logged.
func TestValidateWarns(t *testing.T) {
	var out strings.Builder
	before := sarama.Logger
	t.Cleanup(func() { sarama.Logger = before })
	sarama.Logger = log.New(&out, "", 0)
	for want, change := range map[string]func(*sarama.Config){
		"Net.TLS.Config":     func(c *sarama.Config) { c.Net.TLS.Config = &tls.Config{} },
		"Net.Proxy.Dialer":   func(c *sarama.Config) { c.Net.Proxy.Dialer = &net.Dialer{} },
		"Net.SASL":           func(c *sarama.Config) { c.Net.SASL.User = "x" },
		"Flush.Bytes":        func(c *sarama.Config) { c.Producer.Flush.Bytes = 1 },
		"CommitInterval":     func(c *sarama.Config) { c.Consumer.Offsets.CommitInterval = 1 },
		"Retention":          func(c *sarama.Config) { c.Consumer.Offsets.Retention = 1 },
		"Rebalance.Strategy": func(c *sarama.Config) { c.Consumer.Group.Rebalance.Strategy = speaks{} },
	} {
		config := sarama.NewConfig()
		change(config)
		out.Reset()
		if err := config.Validate(); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, logged %q", want, err, out.String())
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
		"round robin": func(c *sarama.Config) {
			c.Producer.Partitioner = sarama.NewRoundRobinPartitioner
		},
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

// What programs often set is more than a broker sends at once: it is taken, said in the log, and
// large messages come.
func TestFetchSizesAreClamped(t *testing.T) {
	log := logTo(t)
	addrs := []string{newServer(t).Address()}
	config := testConfig()
	config.Consumer.Fetch.Default, config.Consumer.Fetch.Max = 10<<20, 20<<20
	config.Consumer.Fetch.MaxBytes = 100 << 20
	config.Producer.MaxMessageBytes = 3 << 20
	producer := newProducer(t, addrs, testConfig())
	value := string(make([]byte, 900<<10))
	for range 8 {
		if _, _, err := producer.SendMessage(text("t", value)); err != nil {
			t.Fatal(err)
		}
	}
	consumer := newConsumer(t, addrs, config)
	said := func(line string) bool { return strings.Contains(line, "Consumer.Fetch.Default") }
	if n := log.count(said); n != 1 {
		t.Errorf("%d lines", n)
	}
	p := consume(t, consumer, "t", 0, sarama.OffsetOldest)
	for range 8 {
		receive(t, p, value)
	}
}
