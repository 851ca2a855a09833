package sarama

import (
	"hash"
	"hash/crc32"
	"hash/fnv"
	"math"
	"math/rand/v2"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Partitioner picks the partition of each message of one topic. It is called by one goroutine at a
// time.
type Partitioner interface {
	// Partition returns one of 0 to numPartitions-1.
	Partition(message *ProducerMessage, numPartitions int32) (int32, error)
	// RequiresConsistency says whether a message always belongs to the same partition.
	RequiresConsistency() bool
}

// DynamicConsistencyPartitioner is a Partitioner that says of each message whether it always
// belongs to the same partition.
type DynamicConsistencyPartitioner interface {
	Partitioner

	// MessageRequiresConsistency says so. It is asked instead of RequiresConsistency.
	MessageRequiresConsistency(message *ProducerMessage) bool
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

// HashPartitionerOption changes a partitioner of NewCustomPartitioner.
type HashPartitionerOption func(*hashPartitioner)

// WithAbsFirst makes the hash positive by dropping its sign bit, as Kafka's reference client does.
// Default: the partition is made positive instead.
func WithAbsFirst() HashPartitionerOption {
	return func(p *hashPartitioner) { p.dropSign = true }
}

// WithHashUnsigned takes the hash for a number without a sign, as librdkafka does, unless there is
// WithAbsFirst.
func WithHashUnsigned() HashPartitionerOption {
	return func(p *hashPartitioner) { p.unsigned = true }
}

// WithCustomHashFunction hashes with another function. Default: FNV-1a.
func WithCustomHashFunction(hasher func() hash.Hash32) HashPartitionerOption {
	return func(p *hashPartitioner) { p.hasher = hasher() }
}

// WithCustomFallbackPartitioner places messages without a key by another partitioner. Default: on
// any partition.
func WithCustomFallbackPartitioner(randomHP Partitioner) HashPartitionerOption {
	return func(p *hashPartitioner) { p.fallback = randomHP }
}

// NewCustomPartitioner is as NewHashPartitioner, with options.
func NewCustomPartitioner(options ...HashPartitionerOption) PartitionerConstructor {
	return func(topic string) Partitioner {
		p := &hashPartitioner{hasher: fnv.New32a(), fallback: NewRandomPartitioner(topic)}
		for _, option := range options {
			option(p)
		}
		return p
	}
}

// NewHashPartitioner hashes the encoded key with FNV-1a; a message without a key goes to any
// partition.
func NewHashPartitioner(topic string) Partitioner { return NewCustomPartitioner()(topic) }

// NewCustomHashPartitioner is as NewHashPartitioner, with another hash.
func NewCustomHashPartitioner(hasher func() hash.Hash32) PartitionerConstructor {
	return NewCustomPartitioner(WithCustomHashFunction(hasher))
}

// NewReferenceHashPartitioner is as NewHashPartitioner, but makes the hash positive by dropping its
// sign bit, as Kafka's reference client does.
func NewReferenceHashPartitioner(topic string) Partitioner {
	return NewCustomPartitioner(WithAbsFirst())(topic)
}

// NewConsistentCRCHashPartitioner hashes with CRC-32 and takes the hash for a number without a
// sign, as librdkafka's consistent_random does.
func NewConsistentCRCHashPartitioner(topic string) Partitioner {
	crc := func() hash.Hash32 { return crc32.NewIEEE() }
	return NewCustomPartitioner(WithCustomHashFunction(crc), WithHashUnsigned())(topic)
}

type hashPartitioner struct {
	hasher   hash.Hash32
	fallback Partitioner
	dropSign bool
	unsigned bool
}

func (p *hashPartitioner) Partition(message *ProducerMessage, numPartitions int32) (int32, error) {
	if message.Key == nil {
		return p.fallback.Partition(message, numPartitions)
	}
	key, err := message.Key.Encode()
	if err != nil {
		return -1, err
	}
	p.hasher.Reset()
	if _, err := p.hasher.Write(key); err != nil {
		return -1, err
	}
	sum := p.hasher.Sum32()
	switch {
	case p.dropSign:
		return int32(sum&math.MaxInt32) % numPartitions, nil
	case p.unsigned:
		return int32(sum % uint32(numPartitions)), nil
	}
	// The remainder is negated, not the sum: the smallest int32 has no positive counterpart.
	partition := int32(sum) % numPartitions
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

// NewMurmur2Partitioner places messages as Kafka's Java client does, and the core's default
// partitioner: by the murmur2 hash of the encoded key. A message without a key goes to any
// partition.
func NewMurmur2Partitioner(topic string) Partitioner {
	return murmur2Partitioner{NewRandomPartitioner(topic)}
}

type murmur2Partitioner struct{ fallback Partitioner }

func (p murmur2Partitioner) Partition(
	message *ProducerMessage, numPartitions int32,
) (int32, error) {
	if message.Key == nil {
		return p.fallback.Partition(message, numPartitions)
	}
	key, err := message.Key.Encode()
	if err != nil {
		return -1, err
	}
	return ropewalk.KeyPartition(key, numPartitions), nil
}

func (murmur2Partitioner) RequiresConsistency() bool { return true }

// MessageRequiresConsistency is true for messages with a key.
func (murmur2Partitioner) MessageRequiresConsistency(message *ProducerMessage) bool {
	return message.Key != nil
}
