package kafka

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// PartitionAny leaves the partition of a message to the partitioner.
const PartitionAny int32 = -1

// A TopicPartition names a partition, and what is to be or was done with it: an offset, what is
// kept beside a committed one, and what went wrong.
type TopicPartition struct {
	// Topic is the topic's name. A pointer, as in librdkafka's binding.
	Topic *string
	// Partition counts from 0; see PartitionAny.
	Partition int32
	// Offset is what the call at hand is about.
	Offset Offset
	// Metadata is kept beside a committed offset.
	Metadata *string
	// Error is what went wrong with this partition; an [Error].
	Error error
	// LeaderEpoch is the epoch of the leader that has appended the message; nil where it is not
	// known. Calls do not look at it.
	LeaderEpoch *int32
}

// String is topic[partition]@offset, with the error behind it.
func (p TopicPartition) String() string {
	topic := "<null>"
	if p.Topic != nil {
		topic = *p.Topic
	}
	text := fmt.Sprintf("%s[%d]@%s", topic, p.Partition, p.Offset)
	if p.Error != nil {
		text += fmt.Sprintf("(%s)", p.Error)
	}
	return text
}

func (p TopicPartition) topic() string {
	if p.Topic == nil {
		return ""
	}
	return *p.Topic
}

func (p TopicPartition) place() ropewalk.TopicPartition {
	return ropewalk.TopicPartition{Topic: p.topic(), Partition: p.Partition}
}

// partitionAt is the TopicPartition of a place.
func partitionAt(at ropewalk.TopicPartition, offset Offset) TopicPartition {
	topic := at.Topic
	return TopicPartition{Topic: &topic, Partition: at.Partition, Offset: offset}
}

// checkPartitions refuses what names no topic.
func checkPartitions(partitions []TopicPartition) error {
	for i, p := range partitions {
		if p.topic() == "" || p.Partition < 0 {
			return errorf(ErrInvalidArg, "element %d names no partition: %v", i, p)
		}
	}
	return nil
}

// TopicPartitions can be sorted by topic and partition.
type TopicPartitions []TopicPartition

// Len is how many there are.
func (t TopicPartitions) Len() int { return len(t) }

// Less is the order of topics, and of partitions within them.
func (t TopicPartitions) Less(i, j int) bool {
	if a, b := t[i].topic(), t[j].topic(); a != b {
		return a < b
	}
	return t[i].Partition < t[j].Partition
}

// Swap changes two of them for each other.
func (t TopicPartitions) Swap(i, j int) { t[i], t[j] = t[j], t[i] }

// A Node is a broker.
type Node struct {
	// ID is the broker's number.
	ID int
	// Host and Port are where clients reach it.
	Host string
	Port int
	// Rack is the rack or zone that it stands in; nil when it has none.
	Rack *string
}

// String is [host:port]/id.
func (n Node) String() string { return fmt.Sprintf("[%s:%d]/%d", n.Host, n.Port, n.ID) }

// nodeOf is a broker of the cluster.
func nodeOf(b ropewalk.Broker) Node {
	node := Node{ID: int(b.ID)}
	node.Host, node.Port = hostPort(b.Address)
	if b.Rack != "" {
		rack := b.Rack
		node.Rack = &rack
	}
	return node
}

func hostPort(address string) (host string, port int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return address, 0
	}
	port, _ = strconv.Atoi(text) // 0 where it is a name
	return host, port
}

// A UUID is the id of a topic.
type UUID struct{ most, least int64 }

// uuidOf reads the usual form with hyphens; the zero UUID is what cannot be read.
func uuidOf(text string) UUID {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(b) != 16 {
		return UUID{}
	}
	return UUID{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))}
}

// String is the id in base 64, as Kafka shows it.
func (u UUID) String() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(u.most))
	binary.BigEndian.PutUint64(b[8:], uint64(u.least))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// GetMostSignificantBits returns the first 64 bits.
func (u UUID) GetMostSignificantBits() int64 { return u.most }

// GetLeastSignificantBits returns the last 64 bits.
func (u UUID) GetLeastSignificantBits() int64 { return u.least }

// ConsumerGroupTopicPartitions are partitions of a consumer group.
type ConsumerGroupTopicPartitions struct {
	// Group is the group's name.
	Group string
	// Partitions are those that the call is about.
	Partitions []TopicPartition
}

// String names the group and the partitions.
func (g ConsumerGroupTopicPartitions) String() string {
	var b strings.Builder
	b.WriteString(g.Group + "[ ")
	for _, p := range g.Partitions {
		b.WriteString(p.String() + " ")
	}
	return b.String() + "]"
}
