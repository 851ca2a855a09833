package sarama_test

import (
	"hash"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func place(t *testing.T, p sarama.Partitioner, key sarama.Encoder, partitions int32) int32 {
	t.Helper()
	partition, err := p.Partition(&sarama.ProducerMessage{Key: key, Partition: 3}, partitions)
	if err != nil {
		t.Fatal(err)
	}
	if partition < 0 || partition >= partitions {
		t.Fatalf("partition %d of %d", partition, partitions)
	}
	return partition
}

// fixedHash always gives the same sum.
type fixedHash struct{ sum uint32 }

func (f fixedHash) Write(b []byte) (int, error) { return len(b), nil }
func (f fixedHash) Sum(b []byte) []byte         { return b }
func (f fixedHash) Reset()                      {}
func (f fixedHash) Size() int                   { return 4 }
func (f fixedHash) BlockSize() int              { return 1 }
func (f fixedHash) Sum32() uint32               { return f.sum }

func TestHashPartitioner(t *testing.T) {
	// FNV-1a of "foobar" is 0xbf9cf968, as an int32 -1080231576.
	p := sarama.NewHashPartitioner("t")
	if got := place(t, p, sarama.StringEncoder("foobar"), 100); got != 76 {
		t.Errorf("foobar is on %d, want 76", got)
	}
	if got := place(t, sarama.NewReferenceHashPartitioner("t"), sarama.StringEncoder("foobar"), 100); got != 72 {
		t.Errorf("foobar is on %d by reference, want 72", got)
	}
	smallest := sarama.NewCustomHashPartitioner(func() hash.Hash32 { return fixedHash{1 << 31} })("t")
	if got := place(t, smallest, sarama.StringEncoder("x"), 50); got != 48 {
		t.Errorf("the smallest int32 is on %d, want 48", got)
	}
	seen := map[int32]bool{}
	for range 200 {
		seen[place(t, p, nil, 4)] = true
	}
	if len(seen) != 4 {
		t.Errorf("messages without a key went to %v only", seen)
	}
	if !p.RequiresConsistency() {
		t.Error("hashing must be consistent")
	}
}

func TestOtherPartitioners(t *testing.T) {
	round := sarama.NewRoundRobinPartitioner("t")
	for i := range int32(7) {
		if got := place(t, round, nil, 3); got != i%3 {
			t.Errorf("turn %d went to %d", i, got)
		}
	}
	if got := place(t, sarama.NewManualPartitioner("t"), nil, 4); got != 3 {
		t.Errorf("manual went to %d", got)
	}
	place(t, sarama.NewRandomPartitioner("t"), nil, 2)
}
