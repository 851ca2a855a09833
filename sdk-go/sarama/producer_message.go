package sarama

import (
	"encoding/binary"
	"fmt"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// RecordHeader is a header of a message. Keys are UTF-8 here: another one is ErrInvalidRequest.
type RecordHeader struct {
	Key   []byte
	Value []byte
}

// ProducerMessage is a message to be produced. It is the producer's until it comes back on
// Successes or Errors, or SendMessage returns.
type ProducerMessage struct {
	// Topic is the topic's name.
	Topic string
	// Key places the message; nil for none.
	Key Encoder
	// Value is the payload; nil for none.
	Value Encoder
	// Headers travel with the message, in order.
	Headers []RecordHeader
	// Metadata is the program's own: it comes back with the message, and is not sent.
	Metadata any

	// Offset is set when the message was produced, also with RequiredAcks NoResponse.
	Offset int64
	// Partition is set when the message is placed. The manual partitioner reads it before.
	Partition int32
	// Timestamp is when the message was made. Left out, it is set to the time of the append; so it
	// is in a topic whose records have the time of their append.
	Timestamp time.Time
}

const (
	// overheadOfRecord is what a message counts beside its bytes: the most that a record of Kafka's
	// format 2 has around them.
	overheadOfRecord = 5*binary.MaxVarintLen32 + binary.MaxVarintLen64 + 1
	// overheadOfHeader is that of a header.
	overheadOfHeader = 2 * binary.MaxVarintLen32
	// overheadOfMessage is that of a message of the formats before, which have no headers.
	overheadOfMessage = 26
)

// ByteSize is what the message counts against Producer.MaxMessageBytes, in a version of Kafka's
// message format: 2, which is what producers take, or one before it.
func (m *ProducerMessage) ByteSize(version int) int {
	size := overheadOfMessage
	if version >= 2 {
		size = overheadOfRecord
		for i := range m.Headers {
			size += len(m.Headers[i].Key) + len(m.Headers[i].Value) + overheadOfHeader
		}
	}
	if m.Key != nil {
		size += m.Key.Length()
	}
	if m.Value != nil {
		size += m.Value.Length()
	}
	return size
}

// check returns a message's size, and refuses one that is larger than the config allows: its error
// comes with the size too.
func (m *ProducerMessage) check(config *Config) (int, error) {
	size := m.ByteSize(2)
	if size <= config.Producer.MaxMessageBytes {
		return size, nil
	}
	return size, ConfigurationError(fmt.Sprintf(
		"Attempt to produce message larger than configured Producer.MaxMessageBytes: %d > %d",
		size, config.Producer.MaxMessageBytes))
}

// encode fills a record of the core, whose Headers are used again.
func (m *ProducerMessage) encode(record *ropewalk.Record) error {
	headers := record.Headers[:0]
	*record = ropewalk.Record{Topic: m.Topic, Partition: m.Partition, Timestamp: m.Timestamp}
	var err error
	if m.Key != nil {
		if record.Key, err = m.Key.Encode(); err != nil {
			return err
		}
	}
	if m.Value != nil {
		if record.Value, err = m.Value.Encode(); err != nil {
			return err
		}
	}
	for i := range m.Headers {
		h := &m.Headers[i]
		headers = append(headers, ropewalk.Header{Key: string(h.Key), Value: h.Value})
	}
	record.Headers = headers
	return nil
}

// answered writes back where the message went.
func (m *ProducerMessage) answered(ack ropewalk.Ack, stamp bool) {
	m.Partition, m.Offset = ack.Partition, ack.Offset
	if stamp || m.Timestamp.IsZero() {
		m.Timestamp = ack.AppendTime
	}
}
