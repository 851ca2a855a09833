package ropewalk

import (
	"math/rand/v2"
	"time"
)

// A Partitioner picks the partition of each record of one topic. It is called by one goroutine at a
// time, with the number of partitions, which is at least 1, and returns one of 0 to partitions-1. The
// producer waits for it: it must not block, nor call the producer.
type Partitioner interface {
	Partition(record *Record, partitions int32) int32
}

// A PartitionerFunc is a function that is a Partitioner.
type PartitionerFunc func(record *Record, partitions int32) int32

// Partition calls the function.
func (f PartitionerFunc) Partition(record *Record, partitions int32) int32 {
	return f(record, partitions)
}

// ManualPartitioner takes the partition from the record itself.
func ManualPartitioner(string) Partitioner {
	return PartitionerFunc(func(record *Record, _ int32) int32 { return record.Partition })
}

const (
	// stickyBytes is how much a partition is given before records without a key move on: enough
	// that they share batches, little enough that they spread.
	stickyBytes = 64 << 10
	// stickyAge moves them on also when little is produced.
	stickyAge = 100 * time.Millisecond
)

// DefaultPartitioner places records with a key by its murmur2 hash, as Kafka's Java client and the
// broker do. Records without a key stay together on one partition for a while, so that they share
// batches, and then rotate to the next.
func DefaultPartitioner(string) Partitioner {
	return &stickyPartitioner{current: -1}
}

type stickyPartitioner struct {
	current int32
	given   int
	since   time.Time
}

func (s *stickyPartitioner) Partition(record *Record, partitions int32) int32 {
	if record.Key != nil {
		return KeyPartition(record.Key, partitions)
	}
	now := time.Now()
	if s.current < 0 {
		s.current, s.since = rand.Int32N(partitions), now
	} else if s.given >= stickyBytes || now.Sub(s.since) >= stickyAge {
		s.current, s.given, s.since = (s.current+1)%partitions, 0, now
	}
	s.given += len(record.Value) + 1
	return s.current % partitions
}

// KeyPartition is the partition of a key: its murmur2 hash, made positive, modulo the partitions.
// All clients of Ropewalk agree on it, bit for bit.
func KeyPartition(key []byte, partitions int32) int32 {
	return int32(murmur2(key)&0x7fffffff) % partitions
}

// murmur2 is the 32-bit MurmurHash2 with the seed that Kafka uses.
func murmur2(data []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(data[0])) * m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
