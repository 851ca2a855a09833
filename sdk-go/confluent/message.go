package kafka

import (
	"fmt"
	"strconv"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A TimestampType says whose clock gave a message its time.
type TimestampType int

const (
	// TimestampNotAvailable: the message has none, as in delivery reports.
	TimestampNotAvailable TimestampType = 0
	// TimestampCreateTime: the producer's.
	TimestampCreateTime TimestampType = 1
	// TimestampLogAppendTime: the broker's, when it appended the message.
	TimestampLogAppendTime TimestampType = 2
)

// String returns CreateTime, LogAppendTime or NotAvailable.
func (t TimestampType) String() string {
	switch t {
	case TimestampCreateTime:
		return "CreateTime"
	case TimestampLogAppendTime:
		return "LogAppendTime"
	}
	return "NotAvailable"
}

// A Header is a name and a value that travel with a message.
type Header struct {
	// Key is the name; it may repeat.
	Key string
	// Value may be nil, which is not the same as empty.
	Value []byte
}

const (
	// longHeader is the length from which String cuts a value, to shownHeader bytes.
	longHeader  = 65
	shownHeader = 50
)

// String shows the header to people: a long value is cut.
func (h Header) String() string {
	switch n := len(h.Value); {
	case h.Value == nil:
		return h.Key + "=nil"
	case n == 0:
		return h.Key + "=<empty>"
	case n > longHeader:
		return fmt.Sprintf("%s=%s(%d more bytes)",
			h.Key, strconv.Quote(string(h.Value[:shownHeader])), n-shownHeader)
	}
	return h.Key + "=" + strconv.Quote(string(h.Value))
}

// A Message is a record: one to be produced, one that was read, or the report of a delivery.
type Message struct {
	// TopicPartition is where the message goes or comes from. To be produced it needs a Topic and
	// a Partition, which may be PartitionAny. In a report, Partition and Offset say where it is,
	// and Error why it is not there.
	TopicPartition TopicPartition
	// Value is the payload; nil means that there is none.
	Value []byte
	// Key places the message; nil means that it has none, which is not the same as empty.
	Key []byte
	// Timestamp is when the message was made. One that is produced without has the time of its
	// append. Reports have none.
	Timestamp time.Time
	// TimestampType says whose clock that was. Producers do not look at it.
	TimestampType TimestampType
	// Opaque is the program's own: it comes back in the report, and does not travel.
	Opaque any
	// Headers travel with the message, in order.
	Headers []Header
	// LeaderEpoch is the same as that of TopicPartition.
	//
	// Deprecated: take TopicPartition.LeaderEpoch.
	LeaderEpoch *int32

	// behind is what is committed once the message is read; nil for one that was not read.
	behind *ropewalk.CommittedOffset
}

// String names the message by its place.
func (m *Message) String() string {
	return fmt.Sprintf("%s[%d]@%s",
		m.TopicPartition.topic(), m.TopicPartition.Partition, m.TopicPartition.Offset)
}

// A placed is a message with what its pointers point to: one allocation instead of three.
type placed struct {
	Message
	topic string
	epoch int32
}

func newPlaced(topic string, partition int32, offset Offset, epoch int64) *Message {
	p := &placed{topic: topic, epoch: int32(epoch)}
	p.TopicPartition = TopicPartition{Topic: &p.topic, Partition: partition, Offset: offset}
	if epoch > 0 {
		p.TopicPartition.LeaderEpoch, p.LeaderEpoch = &p.epoch, &p.epoch
	}
	return &p.Message
}

// A readMessage is a message that was read, with what its pointers point to.
type readMessage struct {
	Message
	commit ropewalk.CommittedOffset
	epoch  int32
}

func newRead(r *ropewalk.Record) *Message {
	p := &readMessage{commit: r.ToCommit(), epoch: int32(r.LeaderEpoch)}
	p.behind = &p.commit
	p.TopicPartition = TopicPartition{
		Topic: &p.commit.Topic, Partition: r.Partition, Offset: Offset(r.Offset),
	}
	if r.LeaderEpoch > 0 {
		p.TopicPartition.LeaderEpoch, p.LeaderEpoch = &p.epoch, &p.epoch
	}
	return &p.Message
}

// messageOf is a record as consumers hand it out.
func messageOf(r *ropewalk.Record) *Message {
	m := newRead(r)
	m.Key, m.Value = r.Key, r.Value
	m.Timestamp, m.TimestampType = r.Timestamp, TimestampCreateTime
	if r.TimestampType == ropewalk.TimestampAppend {
		m.TimestampType = TimestampLogAppendTime
	}
	if len(r.Headers) > 0 {
		m.Headers = make([]Header, len(r.Headers))
		for i, h := range r.Headers {
			m.Headers[i] = Header(h)
		}
	}
	return m
}

// recordOf is a message as it is handed to the core. It shares nothing with the message: the
// program may use its bytes again as soon as Produce has returned.
func recordOf(m *Message) *ropewalk.Record {
	r := &ropewalk.Record{
		Topic: *m.TopicPartition.Topic, Partition: m.TopicPartition.Partition,
		Key: cloned(m.Key), Value: cloned(m.Value), Timestamp: m.Timestamp,
	}
	if !r.Timestamp.IsZero() {
		r.Timestamp = r.Timestamp.Truncate(time.Millisecond)
	}
	if len(m.Headers) > 0 {
		r.Headers = make([]ropewalk.Header, len(m.Headers))
		for i, h := range m.Headers {
			r.Headers[i] = ropewalk.Header{Key: h.Key, Value: cloned(h.Value)}
		}
	}
	return r
}

// cloned copies bytes, and leaves nil nil.
func cloned(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}
