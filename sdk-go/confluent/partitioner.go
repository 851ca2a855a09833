package kafka

import (
	"hash/crc32"
	"math/rand/v2"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A hashPartitioner places the messages with a key by its hash, and those without as they come.
type hashPartitioner struct {
	// hash places a key; nil: keys do not matter.
	hash func(key []byte, partitions int32) int32
	// spread has messages without a key placed at random, and emptyToo those with an empty one;
	// else they are placed by the hash of nothing.
	spread, emptyToo bool
	sticky           time.Duration

	current int32
	since   time.Time
}

// partitioners are librdkafka's, by their names.
var partitioners = map[string]hashPartitioner{
	"random":            {spread: true, emptyToo: true},
	"consistent":        {hash: crcPartition},
	"consistent_random": {hash: crcPartition, spread: true, emptyToo: true},
	"murmur2":           {hash: ropewalk.KeyPartition},
	"murmur2_random":    {hash: ropewalk.KeyPartition, spread: true},
	"fnv1a":             {hash: fnvPartition},
	"fnv1a_random":      {hash: fnvPartition, spread: true},
}

func partitionerNames() map[string]string {
	names := map[string]string{}
	for name := range partitioners {
		names[name] = name
	}
	return names
}

// newPartitioner makes the partitioner of a topic. Messages without a key stay on a partition for
// as long as sticky says, so that they share batches.
func newPartitioner(name string, sticky time.Duration) ropewalk.Partitioner {
	p := partitioners[name]
	p.sticky, p.current = sticky, -1
	return &p
}

// Partition places a record, unless its message names a partition.
func (p *hashPartitioner) Partition(record *ropewalk.Record, partitions int32) int32 {
	if record.Partition != PartitionAny {
		return record.Partition
	}
	none := record.Key == nil || p.emptyToo && len(record.Key) == 0
	if p.hash != nil && !(none && p.spread) {
		return p.hash(record.Key, partitions)
	}
	if p.hash == nil && !none {
		return rand.Int32N(partitions)
	}
	now := time.Now()
	if p.current < 0 || p.current >= partitions || p.sticky <= 0 || now.Sub(p.since) >= p.sticky {
		p.current, p.since = rand.Int32N(partitions), now
	}
	return p.current
}

// crcPartition is the CRC-32 of a key, modulo the partitions.
func crcPartition(key []byte, partitions int32) int32 {
	return int32(crc32.ChecksumIEEE(key) % uint32(partitions))
}

// fnvPartition is the FNV-1a hash of a key, as a number without its sign, modulo the partitions.
func fnvPartition(key []byte, partitions int32) int32 {
	hash := uint32(2166136261)
	for _, b := range key {
		hash = (hash ^ uint32(b)) * 16777619
	}
	if int32(hash) < 0 {
		hash = -hash
	}
	return int32(hash % uint32(partitions))
}
