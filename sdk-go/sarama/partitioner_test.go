package sarama_test

import (
	"hash"
	"hash/crc32"
	"io"
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

// vectors are partitions of keys as sarama 1.61.1 places them, by each of hashing.
var vectors = []struct {
	key        string
	partitions int32
	want       [8]int32
}{
	{"", 7, [8]int32{2, 0, 0, 2, 0, 0, 2, 0}},
	{"", 10000, [8]int32{1035, 2613, 0, 6681, 0, 0, 6261, 2613}},
	{"a", 7, [8]int32{6, 3, 4, 5, 0, 2, 5, 3}},
	{"a", 10000, [8]int32{5076, 8572, 5907, 2524, 1389, 2259, 2220, 8572}},
	{"ab", 7, [8]int32{2, 2, 5, 0, 6, 3, 2, 2}},
	{"ab", 10000, [8]int32{1946, 1946, 3885, 5434, 3411, 237, 1946, 1946}},
	{"abc", 7, [8]int32{5, 5, 5, 4, 5, 5, 5, 5}},
	{"abc", 10000, [8]int32{331, 331, 8578, 107, 8578, 8578, 331, 331}},
	{"abcd", 7, [8]int32{1, 1, 4, 5, 0, 2, 3, 1}},
	{"abcd", 10000, [8]int32{1763, 1885, 2369, 4100, 4927, 8721, 5533, 1885}},
	{"foobar", 7, [8]int32{4, 5, 6, 0, 5, 4, 0, 5}},
	{"foobar", 10000, [8]int32{1576, 2072, 69, 1166, 7227, 6421, 5720, 2072}},
	{"key-17", 7, [8]int32{1, 1, 5, 2, 6, 3, 3, 1}},
	{"key-17", 10000, [8]int32{2493, 1155, 5983, 5460, 1313, 2335, 4803, 1155}},
	{"\x00\xff\x80", 7, [8]int32{4, 4, 1, 1, 3, 6, 4, 4}},
	{"\x00\xff\x80", 10000, [8]int32{9296, 9296, 7136, 8027, 160, 3488, 9296, 9296}},
	{"Zürich", 7, [8]int32{5, 4, 5, 2, 6, 3, 6, 4}},
	{"Zürich", 10000, [8]int32{3312, 336, 6798, 2833, 498, 3150, 3984, 336}},
	{"a key that is longer than the others are", 7, [8]int32{1, 1, 3, 1, 1, 1, 1, 1}},
	{"a key that is longer than the others are", 10000, [8]int32{
		3064, 3064, 9602, 6291, 7694, 5954, 3064, 3064}},
}

func newCRC() hash.Hash32 { return crc32.NewIEEE() }

var hashing = [8]sarama.PartitionerConstructor{
	sarama.NewHashPartitioner, sarama.NewReferenceHashPartitioner,
	sarama.NewConsistentCRCHashPartitioner, sarama.NewMurmur2Partitioner,
	sarama.NewCustomHashPartitioner(newCRC),
	sarama.NewCustomPartitioner(sarama.WithCustomHashFunction(newCRC), sarama.WithAbsFirst()),
	sarama.NewCustomPartitioner(sarama.WithHashUnsigned()),
	sarama.NewCustomPartitioner(sarama.WithHashUnsigned(), sarama.WithAbsFirst()),
}

func TestHashesAreSaramas(t *testing.T) {
	for i, constructor := range hashing {
		p := constructor("t") // one for all keys: nothing is left of the one before
		for _, v := range vectors {
			if got := place(t, p, sarama.StringEncoder(v.key), v.partitions); got != v.want[i] {
				t.Errorf("partitioner %d: %q of %d is on %d, want %d", i, v.key, v.partitions, got, v.want[i])
			}
		}
		dynamic := p.(sarama.DynamicConsistencyPartitioner)
		keyed := &sarama.ProducerMessage{Key: sarama.StringEncoder("")}
		if !p.RequiresConsistency() || !dynamic.MessageRequiresConsistency(keyed) ||
			dynamic.MessageRequiresConsistency(&sarama.ProducerMessage{}) {
			t.Errorf("partitioner %d: consistency", i)
		}
		seen := map[int32]bool{}
		for range 200 {
			seen[place(t, p, nil, 4)] = true
		}
		if len(seen) != 4 {
			t.Errorf("partitioner %d: messages without a key went to %v only", i, seen)
		}
	}
}

// Where a hash has no positive counterpart, and next to that.
func TestHashesAtTheEdge(t *testing.T) {
	for _, v := range []struct {
		sum        uint32
		partitions int32
		want       [3]int32
	}{
		{0, 50, [3]int32{0, 0, 0}},
		{0, 2147483647, [3]int32{0, 0, 0}},
		{1, 50, [3]int32{1, 1, 1}},
		{1, 2147483647, [3]int32{1, 1, 1}},
		{2147483647, 50, [3]int32{47, 47, 47}},
		{2147483647, 2147483647, [3]int32{0, 0, 0}},
		{2147483648, 50, [3]int32{48, 0, 48}},
		{2147483648, 2147483647, [3]int32{1, 0, 1}},
		{2147483649, 50, [3]int32{47, 1, 49}},
		{2147483649, 2147483647, [3]int32{0, 1, 2}},
		{4294967295, 50, [3]int32{1, 47, 45}},
		{4294967295, 2147483647, [3]int32{1, 0, 1}},
	} {
		hasher := sarama.WithCustomHashFunction(func() hash.Hash32 { return fixedHash{v.sum} })
		for i, constructor := range []sarama.PartitionerConstructor{
			sarama.NewCustomPartitioner(hasher),
			sarama.NewCustomPartitioner(hasher, sarama.WithAbsFirst()),
			sarama.NewCustomPartitioner(hasher, sarama.WithHashUnsigned()),
		} {
			got := place(t, constructor("t"), sarama.StringEncoder("x"), v.partitions)
			if got != v.want[i] {
				t.Errorf("partitioner %d: %d of %d is on %d, want %d", i, v.sum, v.partitions, got, v.want[i])
			}
		}
	}
}

// badKey is a key that does not encode.
type badKey struct{}

func (badKey) Encode() ([]byte, error) { return nil, io.ErrUnexpectedEOF }
func (badKey) Length() int             { return 0 }

func TestKeyThatDoesNotEncode(t *testing.T) {
	for i, constructor := range hashing {
		got, err := constructor("t").Partition(&sarama.ProducerMessage{Key: badKey{}}, 3)
		if got != -1 || err != io.ErrUnexpectedEOF {
			t.Errorf("partitioner %d: %d, %v", i, got, err)
		}
	}
}

func TestFallbackPartitioner(t *testing.T) {
	p := sarama.NewCustomPartitioner(
		sarama.WithCustomFallbackPartitioner(sarama.NewManualPartitioner("t")))("t")
	if got := place(t, p, nil, 4); got != 3 {
		t.Errorf("without a key: on %d", got)
	}
	if got := place(t, p, sarama.StringEncoder("foobar"), 100); got != 76 {
		t.Errorf("with a key: on %d", got)
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
	random, manual := sarama.NewRandomPartitioner("t"), sarama.NewManualPartitioner("t")
	place(t, random, nil, 2)
	if random.RequiresConsistency() || round.RequiresConsistency() || !manual.RequiresConsistency() {
		t.Error("consistency")
	}
}
