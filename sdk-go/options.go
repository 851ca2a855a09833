package ropewalk

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math"
	"net"
	"slices"
	"time"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A ClientOption changes a setting of a [Client].
type ClientOption func(*clientConfig)

type clientConfig struct {
	clientID       string
	logger         *slog.Logger
	dialTimeout    time.Duration
	requestTimeout time.Duration
	metadataAge    time.Duration
	keepAlive      time.Duration
	// createTopics has what does not exist created by its first use, where brokers do that.
	createTopics bool
	// tls is nil where connections are plain, dialer where they are made as gRPC makes them.
	tls    *tls.Config
	dialer func(ctx context.Context, address string) (net.Conn, error)
	hooks  []Hook
}

func defaultClientConfig() clientConfig {
	return clientConfig{
		clientID:       "ropewalk-go",
		logger:         slog.Default(),
		dialTimeout:    10 * time.Second,
		requestTimeout: 30 * time.Second,
		metadataAge:    5 * time.Minute,
		keepAlive:      30 * time.Second,
		createTopics:   true,
	}
}

func (c *clientConfig) validate() error {
	switch {
	case c.logger == nil:
		return invalidError("dial", "the logger is nil")
	case c.dialTimeout <= 0:
		return invalidError("dial", "the dial timeout must be positive, not %v", c.dialTimeout)
	case c.requestTimeout <= 0:
		return invalidError("dial", "the request timeout must be positive, not %v", c.requestTimeout)
	case c.metadataAge <= 0:
		return invalidError("dial", "the metadata age must be positive, not %v", c.metadataAge)
	case c.keepAlive < 10*time.Second:
		return invalidError("dial", "the keepalive interval must be at least 10s, not %v", c.keepAlive)
	}
	return validateHooks(c.hooks)
}

// WithClientID names the program to the broker, as its user agent. Default: ropewalk-go.
func WithClientID(id string) ClientOption { return func(c *clientConfig) { c.clientID = id } }

// WithLogger sets where the client says what it does by itself: retries, reconnects, gaps. Of failures
// in a row the 1st, 2nd, 4th, 8th and so on are warnings, the others for debugging; hooks are told of
// all. A broker is named by its id, 0 being whichever answers. Default: slog.Default().
func WithLogger(logger *slog.Logger) ClientOption { return func(c *clientConfig) { c.logger = logger } }

// WithDialTimeout bounds the first connection. A try of one address takes at most 3 s of it, also
// later. Default: 10 s.
func WithDialTimeout(d time.Duration) ClientOption {
	return func(c *clientConfig) { c.dialTimeout = d }
}

// WithRequestTimeout bounds a unary call with all its retries, beside its context. Default: 30 s.
func WithRequestTimeout(d time.Duration) ClientOption {
	return func(c *clientConfig) { c.requestTimeout = d }
}

// WithMetadataAge sets for how long the number of a topic's partitions, and the brokers of the cluster,
// are taken as known. Default: 5 min.
func WithMetadataAge(d time.Duration) ClientOption {
	return func(c *clientConfig) { c.metadataAge = d }
}

// WithKeepAlive sets after how much silence a connection in use is probed; it counts as lost when
// no answer comes within half of that. Default: 30 s, at least 10 s.
func WithKeepAlive(d time.Duration) ClientOption { return func(c *clientConfig) { c.keepAlive = d } }

// WithoutTopicCreation has a topic that does not exist be an error, [ReasonTopicNotFound], for producers,
// consumers and [Client.Partitions], also where brokers would create it by its first use. A group waits
// for its topics either way, and a topic that is deleted while it is in use may come back. Default: the
// broker decides.
func WithoutTopicCreation() ClientOption { return func(c *clientConfig) { c.createTopics = false } }

// WithTLS has all connections go over TLS: to the addresses that were given, and to those that
// the cluster tells. Each broker must show a certificate for the host of its address, or for the
// ServerName of the configuration where that has one. nil is as &tls.Config{}: the system's
// authorities, no certificate of our own. [Dial] copies the configuration. Default: plain.
func WithTLS(config *tls.Config) ClientOption {
	return func(c *clientConfig) {
		if config == nil {
			config = &tls.Config{}
		}
		c.tls = config
	}
}

// WithDialer sets how connections are made, as through a proxy: the function is called with the
// HOST:PORT of a broker for each of them, from many goroutines, and gives up when the context ends.
// TLS runs over what it returns, where it is asked for. Default, and with nil: TCP, straight to the
// broker. A proxy that the environment names (HTTPS_PROXY) is not used: whoever wants it has a
// dialer that asks it.
func WithDialer(dial func(ctx context.Context, address string) (net.Conn, error)) ClientOption {
	return func(c *clientConfig) { c.dialer = dial }
}

// Durability is what must be true of a record before its append is answered.
type Durability int32

const (
	// DurabilityQuorum: on the disks of a majority of the replicas. The default.
	DurabilityQuorum = Durability(pb.Durability_DURABILITY_QUORUM)
	// DurabilityLeader: on the leader's disk; lost if the leader never comes back.
	DurabilityLeader = Durability(pb.Durability_DURABILITY_LEADER)
	// DurabilityNone: in the leader's memory; lost in a crash.
	DurabilityNone = Durability(pb.Durability_DURABILITY_NONE)
)

// String returns quorum, leader or none.
func (d Durability) String() string {
	switch d {
	case DurabilityQuorum:
		return "quorum"
	case DurabilityLeader:
		return "leader"
	case DurabilityNone:
		return "none"
	}
	return "unknown"
}

// A ProducerOption changes a setting of a [Producer].
type ProducerOption func(*producerConfig)

type producerConfig struct {
	durability      Durability
	partitioner     func(topic string) Partitioner
	batchBytes      int
	bufferBytes     int
	answerTimeout   time.Duration
	deliveryTimeout time.Duration
	maxRetries      int
	retryMaybe      bool
	idempotent      bool
	name            string
	backoff         func(attempt int) time.Duration
	// chosen: the producer was told how to compress, by compression and level; else topics say it.
	chosen       bool
	compression  Compression
	level        int
	interceptors []SendInterceptor
	batching     Batching
	// inFlight is 0 where it was not given.
	inFlight int
}

const (
	// maxBatchBytes keeps a request with its frame below the 4 MiB that any message may have.
	maxBatchBytes = 4<<20 - 64<<10
	unlimited     = math.MaxInt
	// maxInFlight is how many of a producer's batches a partition knows again.
	maxInFlight = 5
)

func defaultProducerConfig() producerConfig {
	return producerConfig{
		durability:      DurabilityQuorum,
		partitioner:     DefaultPartitioner,
		batchBytes:      256 << 10,
		bufferBytes:     64 << 20,
		answerTimeout:   30 * time.Second,
		deliveryTimeout: 2 * time.Minute,
		maxRetries:      unlimited,
		idempotent:      true,
		backoff:         backoff,
		compression:     CompressionNone,
	}
}

func (c *producerConfig) validate() error {
	const op = "new producer"
	lowest, highest := c.compression.levels()
	switch {
	case c.compression < CompressionNone || c.compression > CompressionZstd:
		return invalidError(op, "unknown compression %d", c.compression)
	case c.level != 0 && !c.chosen:
		return invalidError(op, "a compression level needs a codec: WithCompression")
	case c.level != 0 && highest == 0:
		return invalidError(op, "%s has no levels: leave the level out", c.compression)
	case c.level != 0 && (c.level < lowest || c.level > highest):
		return invalidError(op, "the level of %s must be %d to %d, not %d", c.compression, lowest, highest, c.level)
	case c.durability < DurabilityQuorum || c.durability > DurabilityNone:
		return invalidError(op, "unknown durability %d", c.durability)
	case c.partitioner == nil:
		return invalidError(op, "the partitioner is nil")
	case c.batchBytes < 1 || c.batchBytes > maxBatchBytes:
		return invalidError(op, "batch bytes must be 1 to %d, not %d", maxBatchBytes, c.batchBytes)
	case c.bufferBytes < 1:
		return invalidError(op, "buffer bytes must be positive, not %d", c.bufferBytes)
	case c.answerTimeout <= 0:
		return invalidError(op, "the answer timeout must be positive, not %v", c.answerTimeout)
	case c.deliveryTimeout < c.answerTimeout:
		return invalidError(op, "the delivery timeout %v is below the answer timeout %v",
			c.deliveryTimeout, c.answerTimeout)
	case c.maxRetries < 0:
		return invalidError(op, "retries must not be negative")
	case c.backoff == nil:
		return invalidError(op, "the backoff is nil")
	case slices.Contains(c.interceptors, nil):
		return invalidError(op, "an interceptor is nil")
	case c.inFlight < 0 || c.inFlight > maxInFlight:
		return invalidError(op, "batches in flight must be 1 to %d, not %d", maxInFlight, c.inFlight)
	case c.inFlight > 1 && !c.numbered():
		return invalidError(op, "several batches in flight need an idempotent producer, and the "+
			"durability of a quorum: a retry could change the order of the records")
	}
	return c.batching.validate(c)
}

// WithDurability sets what must be true of a record before its append is answered. Default:
// [DurabilityQuorum].
func WithDurability(d Durability) ProducerOption {
	return func(c *producerConfig) { c.durability = d }
}

// WithPartitioner sets how records are placed; the function is called once for each topic. Default:
// [DefaultPartitioner].
func WithPartitioner(p func(topic string) Partitioner) ProducerOption {
	return func(c *producerConfig) { c.partitioner = p }
}

// WithBatchBytes bounds a batch; a larger record travels alone. A batch does not wait to be filled,
// but [WithBatching] says so: it takes what has arrived since the one before it was sent. Default:
// 256 KiB.
func WithBatchBytes(n int) ProducerOption { return func(c *producerConfig) { c.batchBytes = n } }

// WithBufferBytes bounds the memory for records that have no answer yet. When it is used up,
// sending waits. Default: 64 MiB.
func WithBufferBytes(n int) ProducerOption { return func(c *producerConfig) { c.bufferBytes = n } }

// WithAnswerTimeout bounds the wait for the answer to a batch that was sent. Its outcome is then
// not known. Default: 30 s.
func WithAnswerTimeout(d time.Duration) ProducerOption {
	return func(c *producerConfig) { c.answerTimeout = d }
}

// WithDeliveryTimeout bounds how long a record is tried for, from when it was handed over. Default:
// 2 min.
func WithDeliveryTimeout(d time.Duration) ProducerOption {
	return func(c *producerConfig) { c.deliveryTimeout = d }
}

// WithMaxRetries bounds how often a batch is sent again; 0 sends it once. Default: as often as the
// delivery timeout allows.
func WithMaxRetries(n int) ProducerOption {
	return func(c *producerConfig) { c.maxRetries = n }
}

// numbered reports whether batches carry numbers. What a leader alone has had may be lost with it, and
// all that is sent after it would wait for it in vain.
func (c *producerConfig) numbered() bool {
	return c.idempotent && c.durability == DurabilityQuorum
}

// flights is how many batches of a partition may be under way. Without numbers the broker would append
// one although the one before it is to be sent again.
func (c *producerConfig) flights() int {
	switch {
	case !c.numbered():
		return 1
	case c.inFlight == 0:
		return maxInFlight
	}
	return c.inFlight
}

// WithMaxInFlight bounds the batches of one partition that are under way, 1 to 5. Beside another one
// only a full batch is sent ([WithBatchBytes]). More than 1 needs an idempotent producer. Default, and
// with 0: 5; 1 for a producer that is not idempotent.
func WithMaxInFlight(n int) ProducerOption {
	return func(c *producerConfig) { c.inFlight = n }
}

// WithoutIdempotence makes a producer whose batches the broker does not know again when they come
// twice, so that it does not send again what may have been appended. Default: a producer is idempotent;
// that holds only with [DurabilityQuorum].
func WithoutIdempotence() ProducerOption { return func(c *producerConfig) { c.idempotent = false } }

// WithProducerName names an idempotent producer, in the form of a consumer group's name. Of all
// producers with one name the newest may send: once it has sent to a partition, the others fail there
// with [ReasonProducerFenced], for good. Default: none.
func WithProducerName(name string) ProducerOption {
	return func(c *producerConfig) { c.name = name }
}

// WithRetryMaybe makes a producer that is not idempotent also retry what may have been appended.
// Delivery is then at least once: a record whose answer was lost can be in the log twice. Default: such
// errors are returned.
func WithRetryMaybe() ProducerOption { return func(c *producerConfig) { c.retryMaybe = true } }

// WithRetryBackoff sets the pause before a retry; attempt is the number of tries so far. A broker
// that asks for a longer pause gets it. Default: 50 ms, doubling to 2 s, with jitter.
func WithRetryBackoff(f func(attempt int) time.Duration) ProducerOption {
	return func(c *producerConfig) { c.backoff = f }
}

// WithCompression compresses batches on this side, in the codec's standard frame format: brokers keep and
// give them as they are. A batch that would not get smaller goes as it is. Larger batches compress
// better. Default: as each topic says, [CompressedBy]; not at all where it says nothing.
// [CompressionNone] never compresses.
func WithCompression(codec Compression) ProducerOption {
	return func(c *producerConfig) { c.chosen, c.compression = true, codec }
}

// WithCompressionLevel sets the level of the compression: 1 to 9 for gzip, 1 to 22 for zstd, of which it
// takes the nearest that it has. The other codecs have none. Default: the codec's own, 6 for gzip and
// 3 for zstd.
func WithCompressionLevel(level int) ProducerOption {
	return func(c *producerConfig) { c.level = level }
}
