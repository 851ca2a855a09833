package sarama

import (
	"fmt"
	"io"
	"log"
	"regexp"
	"time"
)

const defaultClientID = "sarama"

// maxFetchBytes is the most that a broker sends at once.
const maxFetchBytes = 3_670_016

// maxMessageBytes is the most that any record may have, whatever the topic's setting.
const maxMessageBytes = 3_670_016

// validClientID is what a client id may consist of.
var validClientID = regexp.MustCompile(`\A[A-Za-z0-9._-]+\z`)

// StdLogger is what this package logs to; *log.Logger is one.
type StdLogger interface {
	Print(v ...any)
	Printf(format string, v ...any)
	Println(v ...any)
}

// Logger is where this package says what it does by itself: retries, reconnects and lost records.
// It is silent unless a program sets it, before it makes clients.
var Logger StdLogger = log.New(io.Discard, "[Sarama] ", log.LstdFlags)

// RequiredAcks says what must be true of a record before its answer.
type RequiredAcks int16

const (
	// NoResponse waits until the leader has the record in memory.
	NoResponse RequiredAcks = 0
	// WaitForLocal waits until it is on the leader's disk.
	WaitForLocal RequiredAcks = 1
	// WaitForAll waits until it is on the disks of a majority of the replicas.
	WaitForAll RequiredAcks = -1
)

// Config holds all settings. Make it with [NewConfig], so that those that are not set have their
// defaults.
type Config struct {
	// Net holds settings of the connection.
	Net struct {
		// DialTimeout bounds one try to connect. Default: 30 s.
		DialTimeout time.Duration
	}

	// Metadata holds settings of finding brokers.
	Metadata struct {
		Retry struct {
			// Max is how often the addresses are tried again before a client is given up. Default:
			// 3.
			Max int
			// Backoff is the pause before it. Default: 250 ms.
			Backoff time.Duration
			// BackoffFunc computes the pause instead, when it is set.
			BackoffFunc func(retries, maxRetries int) time.Duration
		}
	}

	// Producer holds settings of producers.
	Producer struct {
		// MaxMessageBytes bounds a message, key, value and headers together. Default: 1 MiB, at
		// most 3.5 MiB. The topic has a limit too.
		MaxMessageBytes int
		// RequiredAcks says what must be true of a message before its answer. Default:
		// WaitForLocal.
		RequiredAcks RequiredAcks
		// Timeout bounds the wait for the answer to one try. Default: 10 s.
		Timeout time.Duration
		// Compression is how batches are compressed. Default: CompressionNone, as the topic says.
		Compression CompressionCodec
		// CompressionLevel is 1 to 9 for gzip and 1 to 22 for zstd; the others have no level. Default:
		// CompressionLevelDefault, the codec's own.
		CompressionLevel int
		// Partitioner makes the partitioner of each topic. Default: NewHashPartitioner.
		Partitioner PartitionerConstructor

		// Idempotent has a batch that is sent again be in the log once. It needs RequiredAcks WaitForAll
		// and Retry.Max above 0. Default: false.
		Idempotent bool

		// Return says what a producer reports. A SyncProducer needs both.
		Return struct {
			// Successes. Default: false.
			Successes bool
			// Errors. Default: true.
			Errors bool
		}

		Retry struct {
			// Max is how often a batch is sent again. Default: 3.
			Max int
			// Backoff is the pause before it. Default: 100 ms.
			Backoff time.Duration
			// BackoffFunc computes the pause instead, when it is set.
			BackoffFunc func(retries, maxRetries int) time.Duration
		}
	}

	// Consumer holds settings of consumers.
	Consumer struct {
		Retry struct {
			// Backoff is the pause before a broken stream is opened again. Default: 2 s.
			Backoff time.Duration
			// BackoffFunc computes the pause instead, when it is set.
			BackoffFunc func(retries int) time.Duration
		}

		Fetch struct {
			// Default is the number of bytes that the broker sends at once. Default: 1 MiB, at most
			// 3.5 MiB. A larger message arrives all the same, alone.
			Default int32
		}

		Return struct {
			// Errors has errors delivered on the Errors channel, which must then be read.
			// Otherwise they are logged. Default: false.
			Errors bool
		}
	}

	// ClientID names the program to the broker. Default: sarama.
	ClientID string

	// ChannelBufferSize is how many messages wait in a channel to be read. Default: 256.
	ChannelBufferSize int
}

// NewConfig returns the defaults.
func NewConfig() *Config {
	c := &Config{ClientID: defaultClientID, ChannelBufferSize: 256}

	c.Net.DialTimeout = 30 * time.Second

	c.Metadata.Retry.Max = 3
	c.Metadata.Retry.Backoff = 250 * time.Millisecond

	c.Producer.MaxMessageBytes = 1024 * 1024
	c.Producer.RequiredAcks = WaitForLocal
	c.Producer.Timeout = 10 * time.Second
	c.Producer.CompressionLevel = CompressionLevelDefault
	c.Producer.Partitioner = NewHashPartitioner
	c.Producer.Retry.Max = 3
	c.Producer.Retry.Backoff = 100 * time.Millisecond
	c.Producer.Return.Errors = true

	c.Consumer.Fetch.Default = 1024 * 1024
	c.Consumer.Retry.Backoff = 2 * time.Second
	return c
}

// Validate returns a ConfigurationError for a value that makes no sense.
func (c *Config) Validate() error {
	for _, check := range []struct {
		bad     bool
		message string
	}{
		{c.Net.DialTimeout <= 0, "Net.DialTimeout must be > 0"},
		{c.Metadata.Retry.Max < 0, "Metadata.Retry.Max must be >= 0"},
		{c.Metadata.Retry.Backoff < 0, "Metadata.Retry.Backoff must be >= 0"},
		{c.Producer.MaxMessageBytes <= 0, "Producer.MaxMessageBytes must be > 0"},
		{c.Producer.MaxMessageBytes > maxMessageBytes,
			fmt.Sprintf("Producer.MaxMessageBytes must be <= %d, the most a record may have", maxMessageBytes)},
		{c.Producer.RequiredAcks < WaitForAll || c.Producer.RequiredAcks > WaitForLocal,
			"Producer.RequiredAcks must be NoResponse, WaitForLocal or WaitForAll"},
		{c.Producer.Idempotent && c.Producer.RequiredAcks != WaitForAll,
			"Idempotent producer requires Producer.RequiredAcks to be WaitForAll"},
		{c.Producer.Idempotent && c.Producer.Retry.Max == 0,
			"Idempotent producer requires Producer.Retry.Max >= 1"},
		{c.Producer.Timeout <= 0, "Producer.Timeout must be > 0"},
		{c.Producer.Compression < CompressionNone || c.Producer.Compression > CompressionZSTD,
			"Producer.Compression must be one of the codecs"},
		{!c.Producer.Compression.isLevel(c.Producer.CompressionLevel),
			"Producer.CompressionLevel must be one of the codec's, or CompressionLevelDefault"},
		{c.Producer.Partitioner == nil, "Producer.Partitioner must not be nil"},
		{c.Producer.Retry.Max < 0, "Producer.Retry.Max must be >= 0"},
		{c.Producer.Retry.Backoff < 0, "Producer.Retry.Backoff must be >= 0"},
		{c.Consumer.Fetch.Default <= 0, "Consumer.Fetch.Default must be > 0"},
		{c.Consumer.Fetch.Default > maxFetchBytes,
			fmt.Sprintf("Consumer.Fetch.Default must be <= %d, the most a broker sends at once", maxFetchBytes)},
		{c.Consumer.Retry.Backoff < 0, "Consumer.Retry.Backoff must be >= 0"},
		{c.ChannelBufferSize < 0, "ChannelBufferSize must be >= 0"},
		{!validClientID.MatchString(c.ClientID), "ClientID must be of letters, digits, '.', '_' and '-'"},
	} {
		if check.bad {
			return ConfigurationError(check.message)
		}
	}
	return nil
}

// orDefault stands in for a nil config, as sarama's constructors do.
func orDefault(c *Config) (*Config, error) {
	if c == nil {
		c = NewConfig()
	}
	return c, c.Validate()
}
