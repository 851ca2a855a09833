package kafka

import (
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// What librdkafka 2.11.1 makes of keys, for 9 and 17 partitions.
func TestHashesAreLibrdkafkas(t *testing.T) {
	for _, test := range []struct {
		key                      string
		none                     bool
		consistent, murmur2, fnv [2]int32
	}{
		{"", false, [2]int32{0, 0}, [2]int32{0, 11}, [2]int32{6, 0}},
		{"", true, [2]int32{0, 0}, [2]int32{0, 11}, [2]int32{6, 0}},
		{"a", false, [2]int32{0, 9}, [2]int32{4, 0}, [2]int32{6, 16}},
		{"ab", false, [2]int32{5, 11}, [2]int32{5, 8}, [2]int32{0, 15}},
		{"abc", false, [2]int32{3, 8}, [2]int32{3, 16}, [2]int32{8, 1}},
		{"abcd", false, [2]int32{4, 11}, [2]int32{2, 7}, [2]int32{3, 11}},
		{"key-17", false, [2]int32{6, 0}, [2]int32{3, 7}, [2]int32{3, 9}},
		{"kafka", false, [2]int32{8, 11}, [2]int32{1, 14}, [2]int32{2, 9}},
		{"The quick brown fox", false, [2]int32{2, 12}, [2]int32{3, 6}, [2]int32{3, 16}},
		{"\xff\xfe\x80", false, [2]int32{5, 3}, [2]int32{6, 10}, [2]int32{1, 14}},
		{"0123456789abcdef", false, [2]int32{3, 13}, [2]int32{0, 0}, [2]int32{7, 8}},
		{"giberish123456789", false, [2]int32{8, 12}, [2]int32{2, 2}, [2]int32{8, 2}},
		{"\u00e9t\u00e9", false, [2]int32{6, 2}, [2]int32{4, 8}, [2]int32{3, 1}},
	} {
		record := &ropewalk.Record{Key: []byte(test.key), Partition: PartitionAny}
		if test.none {
			record.Key = nil
		}
		for name, want := range map[string][2]int32{
			"consistent": test.consistent, "murmur2": test.murmur2, "fnv1a": test.fnv,
		} {
			for i, partitions := range []int32{9, 17} {
				got := newPartitioner(name, 0).Partition(record, partitions)
				if got != want[i] {
					t.Errorf("%s of %q, %d partitions: got %d, want %d",
						name, test.key, partitions, got, want[i])
				}
				hashed := len(test.key) > 0 || name == "murmur2" && !test.none ||
					name == "fnv1a" && !test.none
				with := newPartitioner(name+"_random", 0).Partition(record, partitions)
				if hashed && with != got {
					t.Errorf("%s_random of %q: got %d, want %d", name, test.key, with, got)
				}
			}
		}
	}
}

// Messages without a key stay on a partition for a while, or are spread.
func TestMessagesWithoutAKey(t *testing.T) {
	record := &ropewalk.Record{Partition: PartitionAny}
	for _, name := range []string{"random", "consistent_random", "murmur2_random", "fnv1a_random"} {
		spread, together := map[int32]bool{}, map[int32]bool{}
		free, sticky := newPartitioner(name, 0), newPartitioner(name, time.Hour)
		for range 200 {
			spread[free.Partition(record, 8)] = true
			together[sticky.Partition(record, 8)] = true
		}
		if len(spread) != 8 || len(together) != 1 {
			t.Errorf("%s has %d partitions, and %d that stay", name, len(spread), len(together))
		}
	}
	record.Partition = 3
	if got := newPartitioner("consistent", 0).Partition(record, 8); got != 3 {
		t.Errorf("a message for partition 3 goes to %d", got)
	}
}
