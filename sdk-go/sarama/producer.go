package sarama

import (
	"context"
	"errors"
	"sync"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Encoder is anything that turns into the bytes of a key or a value.
type Encoder interface {
	Encode() ([]byte, error)
	Length() int
}

// StringEncoder is a string as a key or a value.
type StringEncoder string

// Encode returns the bytes of the string.
func (s StringEncoder) Encode() ([]byte, error) { return []byte(s), nil }

// Length returns their number.
func (s StringEncoder) Length() int { return len(s) }

// ByteEncoder is bytes as a key or a value.
type ByteEncoder []byte

// Encode returns the bytes.
func (b ByteEncoder) Encode() ([]byte, error) { return b, nil }

// Length returns their number.
func (b ByteEncoder) Length() int { return len(b) }

// RecordHeader is a header of a message.
type RecordHeader struct {
	Key   []byte
	Value []byte
}

// ProducerMessage is a message to be produced.
type ProducerMessage struct {
	// Topic is the topic's name.
	Topic string
	// Key places the message; nil for none.
	Key Encoder
	// Value is the payload; nil for none.
	Value Encoder
	// Headers travel with the message.
	Headers []RecordHeader
	// Metadata is the program's own; it is not sent.
	Metadata any

	// Offset is set when the message was produced.
	Offset int64
	// Partition is set when the message was produced. The manual partitioner reads it before.
	Partition int32
	// Timestamp is when the message was made. Left out, it is set to the time of the append.
	Timestamp time.Time
}

// SyncProducer produces messages and waits for each to be answered. It is safe for use by many
// goroutines. It must be closed.
type SyncProducer interface {
	// SendMessage produces a message. After an error, partition and offset are -1.
	SendMessage(msg *ProducerMessage) (partition int32, offset int64, err error)
	// SendMessages produces messages together. If some fail, the error is a ProducerErrors.
	SendMessages(msgs []*ProducerMessage) error
	// Close waits for what is under way. Closing again does nothing.
	Close() error
}

type syncProducer struct {
	config   *Config
	client   *ropewalk.Client
	producer *ropewalk.Producer

	mu           sync.Mutex
	closed       bool
	partitioners map[string]Partitioner
}

// NewSyncProducer connects to the brokers and makes a producer. A nil config stands for the
// defaults, which lack Producer.Return.Successes, and is refused for that.
func NewSyncProducer(addrs []string, config *Config) (SyncProducer, error) {
	config, err := orDefault(config)
	if err != nil {
		return nil, err
	}
	if !config.Producer.Return.Successes {
		return nil, ConfigurationError("a SyncProducer needs Producer.Return.Successes to be true")
	}
	if !config.Producer.Return.Errors {
		return nil, ConfigurationError("a SyncProducer needs Producer.Return.Errors to be true")
	}
	client, err := connect(addrs, config)
	if err != nil {
		return nil, err
	}
	producer, err := client.NewProducer(producerOptions(config)...)
	if err != nil {
		return nil, errors.Join(mapError(err), client.Close())
	}
	return &syncProducer{
		config: config, client: client, producer: producer, partitioners: map[string]Partitioner{},
	}, nil
}

// producerOptions expresses a config in the options of the core.
func producerOptions(config *Config) []ropewalk.ProducerOption {
	durability := ropewalk.DurabilityLeader
	switch config.Producer.RequiredAcks {
	case NoResponse:
		durability = ropewalk.DurabilityNone
	case WaitForAll:
		durability = ropewalk.DurabilityQuorum
	}
	retry := config.Producer.Retry
	pause := func(attempt int) time.Duration {
		if retry.BackoffFunc != nil {
			return retry.BackoffFunc(attempt, retry.Max)
		}
		return retry.Backoff
	}
	// sarama has no bound for a message as a whole: it follows from the tries.
	total := maxDelivery
	if tries := time.Duration(retry.Max) + 1; retry.BackoffFunc == nil && tries < 1000 {
		total = min(tries*(min(config.Producer.Timeout, maxDelivery)+retry.Backoff)+deliverySlack, maxDelivery)
	}
	total = max(total, config.Producer.Timeout)
	options := []ropewalk.ProducerOption{
		ropewalk.WithDurability(durability),
		ropewalk.WithPartitioner(ropewalk.ManualPartitioner),
		ropewalk.WithAnswerTimeout(config.Producer.Timeout),
		ropewalk.WithDeliveryTimeout(total),
		ropewalk.WithMaxRetries(retry.Max),
		ropewalk.WithRetryBackoff(pause),
	}
	if !config.Producer.Idempotent {
		options = append(options, ropewalk.WithoutIdempotence())
	}
	options = append(options, config.Producer.Compression.options(config.Producer.CompressionLevel)...)
	if retry.Max > 0 {
		options = append(options, ropewalk.WithRetryMaybe())
	}
	return options
}

const (
	maxDelivery   = 24 * time.Hour
	deliverySlack = 30 * time.Second
)

func (p *syncProducer) SendMessage(msg *ProducerMessage) (int32, int64, error) {
	record, err := p.record(msg)
	if err != nil {
		return -1, -1, err
	}
	ack, err := p.producer.Send(context.Background(), record)
	if err != nil {
		return -1, -1, p.sendError(err)
	}
	answered(msg, ack)
	return msg.Partition, msg.Offset, nil
}

func (p *syncProducer) SendMessages(msgs []*ProducerMessage) error {
	failures := make([]error, len(msgs))
	var all sync.WaitGroup
	for i, msg := range msgs {
		record, err := p.record(msg)
		if err != nil {
			failures[i] = err
			continue
		}
		all.Add(1)
		err = p.producer.SendAsync(context.Background(), record,
			func(_ *ropewalk.Record, ack ropewalk.Ack, err error) {
				defer all.Done()
				if err != nil {
					failures[i] = p.sendError(err)
					return
				}
				answered(msg, ack)
			})
		if err != nil {
			failures[i] = p.sendError(err)
			all.Done()
		}
	}
	all.Wait()
	var errs ProducerErrors
	for i, err := range failures {
		if err != nil {
			errs = append(errs, &ProducerError{Msg: msgs[i], Err: err})
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

func (p *syncProducer) Close() error {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	p.mu.Unlock()
	if again {
		return nil
	}
	return mapError(p.client.Close())
}

func answered(msg *ProducerMessage, ack ropewalk.Ack) {
	msg.Partition, msg.Offset = ack.Partition, ack.Offset
	if msg.Timestamp.IsZero() {
		msg.Timestamp = ack.AppendTime
	}
}

func (p *syncProducer) sendError(err error) error {
	if errors.Is(err, ropewalk.ReasonClosed) {
		return ErrShuttingDown
	}
	return mapError(err)
}

// record encodes a message and places it on a partition.
func (p *syncProducer) record(msg *ProducerMessage) (*ropewalk.Record, error) {
	record := &ropewalk.Record{Topic: msg.Topic, Timestamp: msg.Timestamp}
	var err error
	if msg.Key != nil {
		if record.Key, err = msg.Key.Encode(); err != nil {
			return nil, err
		}
	}
	if msg.Value != nil {
		if record.Value, err = msg.Value.Encode(); err != nil {
			return nil, err
		}
	}
	size := len(record.Key) + len(record.Value)
	for _, h := range msg.Headers {
		record.Headers = append(record.Headers, ropewalk.Header{Key: string(h.Key), Value: h.Value})
		size += len(h.Key) + len(h.Value)
	}
	if size > p.config.Producer.MaxMessageBytes {
		return nil, ErrMessageSizeTooLarge
	}
	partitions, err := p.client.Partitions(context.Background(), msg.Topic)
	if err != nil {
		return nil, p.sendError(err)
	}
	record.Partition, err = p.partition(msg, partitions)
	return record, err
}

// partition asks the topic's partitioner; partitioners have state and are not safe by themselves.
func (p *syncProducer) partition(msg *ProducerMessage, partitions int32) (int32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return -1, ErrShuttingDown
	}
	partitioner := p.partitioners[msg.Topic]
	if partitioner == nil {
		partitioner = p.config.Producer.Partitioner(msg.Topic)
		p.partitioners[msg.Topic] = partitioner
	}
	partition, err := partitioner.Partition(msg, partitions)
	if err != nil {
		return -1, err
	}
	if partition < 0 || partition >= partitions {
		return -1, ErrInvalidPartition
	}
	return partition, nil
}
