package ropewalk_test

import (
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// The hashes are those of Kafka's Java client, whose own tests have these keys.
func TestKeyPartition(t *testing.T) {
	for key, hash := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		for _, partitions := range []int32{1, 3, 10_000} {
			want := (hash & 0x7fffffff) % partitions
			if got := ropewalk.KeyPartition([]byte(key), partitions); got != want {
				t.Errorf("%s of %d: partition %d, want %d", key, partitions, got, want)
			}
		}
	}
}

func TestDefaultPartitionerSpreadsAndSticks(t *testing.T) {
	p := ropewalk.DefaultPartitioner("t")
	record := &ropewalk.Record{Value: make([]byte, 1023)}
	counts := map[int32]int{}
	changes, last := 0, int32(-1)
	for range 4 * 64 * 10 {
		partition := p.Partition(record, 4)
		counts[partition]++
		if partition != last {
			changes, last = changes+1, partition
		}
	}
	if len(counts) != 4 || changes > 60 {
		t.Errorf("spread %v with %d changes", counts, changes)
	}
}
