package sarama

import (
	"crypto/tls"
	"net"
	"time"
)

const defaultClientID = "sarama"

// Config holds all settings. Make it with [NewConfig], so that those that are not set have their
// defaults.
//
// It has every field of sarama's. Each acts, or is harmless to leave or to set, or is refused by
// [Config.Validate]: the table in the package's documentation says which. What is said below of a
// field is what it does here.
type Config struct {
	// Admin holds settings of a ClusterAdmin.
	Admin struct {
		Retry struct {
			// Max is how often a request is sent again that may succeed later. Default: 5.
			Max int
			// Backoff is the pause before it. Default: 100 ms.
			Backoff time.Duration
		}
		// Timeout bounds one try of a call. Default: 3 s.
		Timeout time.Duration
	}

	// Net holds settings of connections.
	Net struct {
		// MaxOpenRequests changes nothing: a partition has one batch under way at a time, so that
		// its order never hangs on it. It must be 1 with Producer.Idempotent, as in sarama.
		// Default: 5.
		MaxOpenRequests int

		// DialTimeout bounds the first connection, over all addresses, and each later one. A try of
		// one address takes at most 3 s of it. Default: 30 s.
		DialTimeout time.Duration
		// ReadTimeout bounds the wait for the answer to a request that is not a batch, with its
		// repeats. Streams have heartbeats instead. Default: 30 s.
		ReadTimeout time.Duration
		// WriteTimeout bounds how long the network may refuse to take bytes before the connection
		// is given up. Default: 30 s.
		WriteTimeout time.Duration

		// ResolveCanonicalBootstrapServers has each address replaced by the names that its IP
		// addresses have in reverse. Default: false.
		ResolveCanonicalBootstrapServers bool

		TLS struct {
			// Enable has connections encrypted. Default: false.
			Enable bool
			// Config says how; nil stands for an empty one. Default: nil.
			Config *tls.Config
		}

		// SASL would authenticate the program. Brokers have no authentication yet, so Enable is
		// refused; the other fields do nothing without it.
		SASL struct {
			// Enable must be false.
			Enable bool
			// Mechanism is the way to authenticate.
			Mechanism SASLMechanism
			// Version is that of the handshake. Default: SASLHandshakeV1.
			Version int16
			// Handshake is whether there is one. Default: true.
			Handshake bool
			// AuthIdentity is who to act as, for PLAIN.
			AuthIdentity string
			// User is who the program is, for PLAIN and SCRAM.
			User string
			// Password goes with it.
			Password string
			// SCRAMAuthzID is who to act as, for SCRAM.
			SCRAMAuthzID string
			// SCRAMClientGeneratorFunc makes the client of an exchange, for SCRAM.
			SCRAMClientGeneratorFunc func() SCRAMClient
			// TokenProvider gives tokens, for OAUTHBEARER.
			TokenProvider AccessTokenProvider

			// GSSAPI holds settings of Kerberos.
			GSSAPI GSSAPIConfig
		}

		// KeepAlive is the period of TCP's own probes: 0 for the system's, negative for none.
		// Connections in use are probed beside that. Default: 0.
		KeepAlive time.Duration

		// LocalAddr is the address to connect from. Default: nil, any.
		LocalAddr net.Addr

		Proxy struct {
			// Enable has connections made by Dialer. Default: false.
			Enable bool
			// Dialer makes them; KeepAlive and LocalAddr are then its own affair. Default: nil.
			Dialer ProxyDialer
		}
	}

	// Metadata holds settings of finding brokers, topics and partitions.
	Metadata struct {
		Retry struct {
			// Max is how often the addresses are tried again before a client is given up, and how
			// often reading is before a consumer tells of it on Errors. Default: 3.
			Max int
			// Backoff is the pause before it. Default: 250 ms.
			Backoff time.Duration
			// BackoffFunc computes the pause instead, when it is set.
			BackoffFunc func(retries, maxRetries int) time.Duration
		}
		// RefreshFrequency is for how long brokers and numbers of partitions are taken as known.
		// Default: 10 min; 0: until something says otherwise.
		RefreshFrequency time.Duration

		// Full has Client.Topics tell of all topics; off, it tells of those that were asked for. In
		// any case a client keeps what it uses only. Default: true.
		Full bool

		// Timeout bounds making a client, with all tries, and each question of a Client, when it is
		// above 0. Default: 0.
		Timeout time.Duration

		// AllowAutoTopicCreation lets a topic be created by its first use, where brokers do that.
		// Otherwise that is ErrUnknownTopicOrPartition. Default: true.
		AllowAutoTopicCreation bool

		// SingleFlight changes nothing: those who ask a Client for one topic at one time share the
		// answer, whatever this is. RefreshMetadata asks by itself each time, so that its answer is
		// never older than the call. Default: true.
		SingleFlight bool
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
		// CompressionLevel is 1 to 9 for gzip and 1 to 22 for zstd; the others have no level.
		// Default: CompressionLevelDefault, the codec's own.
		CompressionLevel int
		// Partitioner makes the partitioner of each topic. Default: NewHashPartitioner.
		Partitioner PartitionerConstructor
		// Idempotent has a batch that is sent again be in the log once. It needs RequiredAcks
		// WaitForAll, Retry.Max above 0 and, as in sarama, Net.MaxOpenRequests 1. Default: false.
		Idempotent bool
		// Transaction holds settings of transactions. There are none yet, so ID is refused; the
		// other fields do nothing without it.
		Transaction struct {
			// ID must be empty.
			ID string
			// Timeout is how long a transaction may stay open. Default: 1 min.
			Timeout time.Duration

			Retry struct {
				// Max is how often a step is tried again. Default: 50.
				Max int
				// Backoff is the pause before it. Default: 100 ms.
				Backoff time.Duration
				// BackoffFunc computes the pause instead, when it is set.
				BackoffFunc func(retries, maxRetries int) time.Duration
			}
		}

		// Return says what a producer reports. A SyncProducer needs both.
		Return struct {
			// Successes. Default: false.
			Successes bool
			// Errors. Default: true.
			Errors bool
		}

		// Flush says when messages are sent. By default that is at once, with those that have arrived
		// since the batch before. Close waits for nothing.
		Flush struct {
			// Bytes has messages wait until those of the producer have so many, uncompressed.
			// Default: 0.
			Bytes int
			// Messages has them wait until they are so many. Default: 0.
			Messages int
			// Frequency is how long they wait at most. Default: 0, with Bytes or Messages half of the
			// time that a message is tried for; at most 24 h.
			Frequency time.Duration
			// MaxMessages bounds the messages of a batch, which is a partition's. Default: 0, no
			// bound.
			MaxMessages int
		}

		Retry struct {
			// Max is how often a batch is sent again. Default: 3.
			Max int
			// Backoff is the pause before it. Default: 100 ms.
			Backoff time.Duration
			// BackoffFunc computes the pause instead, when it is set.
			BackoffFunc func(retries, maxRetries int) time.Duration
			// MaxBufferLength changes nothing: messages that are sent again wait where all
			// unanswered messages do, in a buffer that is always bounded. Default: 0.
			MaxBufferLength int
			// MaxBufferBytes changes nothing, for the same reason. Default: 0.
			MaxBufferBytes int64
		}

		// Interceptors see each message before it is placed, one after the other.
		Interceptors []ProducerInterceptor
	}

	// Consumer holds settings of consumers and consumer groups.
	Consumer struct {
		// Group holds settings of consumer groups.
		Group struct {
			Session struct {
				// Timeout is how long the group waits for a member whose connection broke. Default:
				// 10 s; at most 1 h.
				Timeout time.Duration
			}
			Heartbeat struct {
				// Interval is how often the broker shows that a quiet stream is alive. After three
				// of them the member reconnects. Below 100 ms it counts as that. Default: 3 s; at
				// most 5 min.
				Interval time.Duration
			}
			Rebalance struct {
				// Strategy assigns partitions, when it is set.
				//
				// Deprecated: use GroupStrategies.
				Strategy BalanceStrategy

				// GroupStrategies are those that the member knows, the best first. Default:
				// range.
				GroupStrategies []BalanceStrategy

				// Timeout is how long a member has to finish with partitions that another one is
				// to have. Default: 60 s; at most 1 h.
				Timeout time.Duration

				Retry struct {
					// Max is how often joining is tried again. Default: 4.
					Max int
					// Backoff is the pause before it. Default: 2 s.
					Backoff time.Duration
				}
			}
			Member struct {
				// UserData is what strategies of the program's own are told of this member.
				UserData []byte
			}

			// InstanceId names the member over restarts. Default: none.
			InstanceId string

			// ResetInvalidOffsets has a partition go on at Offsets.Initial when what was committed
			// is no longer there. Default: true; otherwise its claim ends with ErrOffsetOutOfRange.
			ResetInvalidOffsets bool
		}

		Retry struct {
			// Backoff is the pause before a broken stream is opened again. Default: 2 s.
			Backoff time.Duration
			// BackoffFunc computes the pause instead, when it is set.
			BackoffFunc func(retries int) time.Duration
			// Max is after how many failures in a row a partition is given up, with
			// ErrConsumerRetriesExhausted. Default: 0, never.
			Max int
		}

		// Fetch says how much the broker sends at once.
		Fetch struct {
			// Min changes nothing: messages are sent as they come. Default: 1.
			Min int32
			// Default is the number of bytes that the broker sends at once. Default: 1 MiB; more than
			// 3.5 MiB counts as that, and is logged. A larger message arrives all the same, alone.
			Default int32
			// Max lowers Default when it is above 0 and below it. Default: 0.
			Max int32
			// MaxBytes does so too. Default: 50 MiB.
			MaxBytes int32
		}
		// MaxWaitTime changes nothing: messages are sent as they come. Default: 500 ms.
		MaxWaitTime time.Duration

		// MaxProcessingTime changes nothing: a partition that is read slowly holds up no other, and
		// is sent no more than is read. Default: 100 ms.
		MaxProcessingTime time.Duration

		Return struct {
			// Errors has errors delivered on the Errors channel, which must then be read.
			// Otherwise they are logged. Default: false.
			Errors bool
		}

		// Offsets says what is committed, and when.
		Offsets struct {
			// CommitInterval does nothing, and is logged.
			//
			// Deprecated: use AutoCommit.
			CommitInterval time.Duration

			AutoCommit struct {
				// Enable has marked offsets committed by themselves. Default: true.
				Enable bool
				// Interval is how often. Default: 1 s.
				Interval time.Duration
			}

			// Initial is where a partition begins of which nothing is committed: OffsetNewest or
			// OffsetOldest. Default: OffsetNewest.
			Initial int64

			// Retention changes nothing: what is committed is kept as long as its group. Default:
			// 0.
			Retention time.Duration

			Retry struct {
				// Max is how often a commit is tried again. Default: 3.
				Max int
			}
		}

		// IsolationLevel changes nothing: there are no transactions that could be open or aborted.
		// Default: ReadUncommitted.
		IsolationLevel IsolationLevel

		// Interceptors see each message before it is delivered, one after the other.
		Interceptors []ConsumerInterceptor
	}

	// ClientID names the program to the broker. Default: sarama.
	ClientID string
	// RackID changes nothing: messages are read from the partition's leader. Default: none.
	RackID string
	// ChannelBufferSize is how many messages wait in a channel to be read. Default: 256.
	ChannelBufferSize int
	// ApiVersionsRequest changes nothing: there are no versions to negotiate. Default: true.
	ApiVersionsRequest bool
	// Version changes nothing but what Validate takes, as in sarama. Default: DefaultVersion.
	Version KafkaVersion
	// MetricRegistry is where counts are kept; nil for nowhere. Default: a registry of this config.
	MetricRegistry MetricRegistry
}

// NewConfig returns the defaults.
func NewConfig() *Config {
	c := &Config{
		ClientID:           defaultClientID,
		ChannelBufferSize:  256,
		ApiVersionsRequest: true,
		Version:            DefaultVersion,
		MetricRegistry:     NewMetricRegistry(),
	}
	c.Admin.Retry.Max = 5
	c.Admin.Retry.Backoff = 100 * time.Millisecond
	c.Admin.Timeout = 3 * time.Second
	c.netDefaults()
	c.producerDefaults()
	c.consumerDefaults()
	return c
}

func (c *Config) netDefaults() {
	c.Net.MaxOpenRequests = 5
	c.Net.DialTimeout = 30 * time.Second
	c.Net.ReadTimeout = 30 * time.Second
	c.Net.WriteTimeout = 30 * time.Second
	c.Net.SASL.Handshake = true
	c.Net.SASL.Version = SASLHandshakeV1

	c.Metadata.Retry.Max = 3
	c.Metadata.Retry.Backoff = 250 * time.Millisecond
	c.Metadata.RefreshFrequency = 10 * time.Minute
	c.Metadata.Full = true
	c.Metadata.AllowAutoTopicCreation = true
	c.Metadata.SingleFlight = true
}

func (c *Config) producerDefaults() {
	c.Producer.MaxMessageBytes = 1024 * 1024
	c.Producer.RequiredAcks = WaitForLocal
	c.Producer.Timeout = 10 * time.Second
	c.Producer.CompressionLevel = CompressionLevelDefault
	c.Producer.Partitioner = NewHashPartitioner
	c.Producer.Retry.Max = 3
	c.Producer.Retry.Backoff = 100 * time.Millisecond
	c.Producer.Return.Errors = true

	c.Producer.Transaction.Timeout = time.Minute
	c.Producer.Transaction.Retry.Max = 50
	c.Producer.Transaction.Retry.Backoff = 100 * time.Millisecond
}

func (c *Config) consumerDefaults() {
	c.Consumer.Fetch.Min = 1
	c.Consumer.Fetch.Default = 1024 * 1024
	c.Consumer.Fetch.MaxBytes = 50 * 1024 * 1024
	c.Consumer.Retry.Backoff = 2 * time.Second
	c.Consumer.MaxWaitTime = 500 * time.Millisecond
	c.Consumer.MaxProcessingTime = 100 * time.Millisecond
	c.Consumer.Offsets.AutoCommit.Enable = true
	c.Consumer.Offsets.AutoCommit.Interval = time.Second
	c.Consumer.Offsets.Initial = OffsetNewest
	c.Consumer.Offsets.Retry.Max = 3

	c.Consumer.Group.Session.Timeout = 10 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 3 * time.Second
	c.Consumer.Group.Rebalance.GroupStrategies = []BalanceStrategy{NewBalanceStrategyRange()}
	c.Consumer.Group.Rebalance.Timeout = 60 * time.Second
	c.Consumer.Group.Rebalance.Retry.Max = 4
	c.Consumer.Group.Rebalance.Retry.Backoff = 2 * time.Second
	c.Consumer.Group.ResetInvalidOffsets = true
}

// orDefault stands in for a nil config, as sarama's constructors do.
func orDefault(c *Config) (*Config, error) {
	if c == nil {
		c = NewConfig()
	}
	return c, c.Validate()
}
