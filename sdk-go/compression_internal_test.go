package ropewalk

import (
	"bytes"
	"testing"
)

var framed = []Compression{CompressionGzip, CompressionSnappy, CompressionLZ4, CompressionZstd}

func pack(t testing.TB, codec Compression, level int, plain []byte) []byte {
	t.Helper()
	c, err := newCompressor(codec, level)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := c.pack(nil, plain)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// A bomb costs no more than the limit, and what is damaged is an error.
func TestWhatIsDecompressedIsBounded(t *testing.T) {
	zeros := make([]byte, maxDecompressedBytes)
	for _, codec := range framed {
		packed := pack(t, codec, 0, zeros)
		plain, err := unpack(codec, packed, maxDecompressedBytes)
		if err != nil || !bytes.Equal(plain, zeros) {
			t.Errorf("%s: %d bytes, %v", codec, len(plain), err)
		}
		bomb := pack(t, codec, 0, append(zeros, 0))
		if plain, err = unpack(codec, bomb, maxDecompressedBytes); err == nil {
			t.Errorf("%s: a bomb gave %d bytes", codec, len(plain))
		}
		if _, err = unpack(codec, packed[:len(packed)/2], maxDecompressedBytes); err == nil {
			t.Errorf("%s: half of it was taken for all", codec)
		}
	}
	if _, err := unpack(CompressionNone, zeros, maxDecompressedBytes); err == nil {
		t.Error("what is not compressed was decompressed")
	}
}

func TestLevelsDiffer(t *testing.T) {
	var plain bytes.Buffer
	for n := range 20_000 {
		plain.WriteString("GET /orders/")
		plain.WriteByte(byte('0' + n*n%7))
		plain.WriteByte(byte('0' + n%3*n%9))
	}
	for _, codec := range framed {
		lowest, highest := codec.levels()
		if highest == 0 {
			continue
		}
		fast, small := pack(t, codec, lowest, plain.Bytes()), pack(t, codec, highest, plain.Bytes())
		if len(small) >= len(fast) {
			t.Errorf("%s: %d bytes at level %d, %d at level %d", codec, len(fast), lowest, len(small), highest)
		}
	}
}
