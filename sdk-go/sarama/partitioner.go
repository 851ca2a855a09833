package sarama

import (
	"hash"
	"hash/fnv"
	"math/rand/v2"
)

// Partitioner picks the partition of each message of one topic. It is called by one goroutine at a
// time.
type Partitioner interface {
	// Partition returns one of 0 to numPartitions-1.
	Partition(message *ProducerMessage, numPartitions int32) (int32, error)
	// RequiresConsistency says whether a message always belongs to the same partition.
	RequiresConsistency() bool
}

// PartitionerConstructor makes the partitioner of a topic.
type PartitionerConstructor func(topic string) Partitioner

// NewManualPartitioner takes the partition from the message.
func NewManualPartitioner(string) Partitioner { return manualPartitioner{} }

type manualPartitioner struct{}

func (manualPartitioner) Partition(message *ProducerMessage, _ int32) (int32, error) {
	return message.Partition, nil
}

func (manualPartitioner) RequiresConsistency() bool { return true }

// NewRandomPartitioner picks any partition.
func NewRandomPartitioner(string) Partitioner { return randomPartitioner{} }

type randomPartitioner struct{}

func (randomPartitioner) Partition(_ *ProducerMessage, numPartitions int32) (int32, error) {
	return rand.Int32N(numPartitions), nil
}

func (randomPartitioner) RequiresConsistency() bool { return false }

// NewRoundRobinPartitioner takes the partitions in turn.
func NewRoundRobinPartitioner(string) Partitioner { return &roundRobinPartitioner{} }

type roundRobinPartitioner struct{ next int32 }

func (p *roundRobinPartitioner) Partition(_ *ProducerMessage, numPartitions int32) (int32, error) {
	if p.next >= numPartitions {
		p.next = 0
	}
	partition := p.next
	p.next++
	return partition, nil
}

func (p *roundRobinPartitioner) RequiresConsistency() bool { return false }

// NewHashPartitioner hashes the encoded key with FNV-1a; a message without a key goes to any
// partition.
func NewHashPartitioner(string) Partitioner {
	return &hashPartitioner{hasher: fnv.New32a()}
}

// NewCustomHashPartitioner is as NewHashPartitioner, with another hash.
func NewCustomHashPartitioner(hasher func() hash.Hash32) PartitionerConstructor {
	return func(string) Partitioner { return &hashPartitioner{hasher: hasher()} }
}

// NewReferenceHashPartitioner is as NewHashPartitioner, but makes the hash positive by dropping its
// sign bit, as Kafka's reference client does.
func NewReferenceHashPartitioner(string) Partitioner {
	return &hashPartitioner{hasher: fnv.New32a(), dropSign: true}
}

type hashPartitioner struct {
	hasher   hash.Hash32
	dropSign bool
}

func (p *hashPartitioner) Partition(message *ProducerMessage, numPartitions int32) (int32, error) {
	if message.Key == nil {
		return rand.Int32N(numPartitions), nil
	}
	key, err := message.Key.Encode()
	if err != nil {
		return -1, err
	}
	p.hasher.Reset()
	if _, err := p.hasher.Write(key); err != nil {
		return -1, err
	}
	sum := int32(p.hasher.Sum32())
	if p.dropSign {
		return (sum & 0x7fffffff) % numPartitions, nil
	}
	// The remainder is negated, not the sum: the smallest int32 has no positive counterpart.
	partition := sum % numPartitions
	if partition < 0 {
		partition = -partition
	}
	return partition, nil
}

func (p *hashPartitioner) RequiresConsistency() bool { return true }

// MessageRequiresConsistency has a hash partitioner require it only for messages with a key.
func (p *hashPartitioner) MessageRequiresConsistency(message *ProducerMessage) bool {
	return message.Key != nil
}
