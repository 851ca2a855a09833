package ropewalk

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxDecompressedBytes is what a batch has at most when it is decompressed: what brokers decompress
// at most, too.
const maxDecompressedBytes = 16 << 20

// What decompresses is used again, and so is the memory for what is not counted yet.
var (
	gzips    = sync.Pool{New: func() any { return new(gzip.Reader) }}
	lz4s     = sync.Pool{New: func() any { return lz4.NewReader(nil) }}
	snappies = sync.Pool{New: func() any {
		return s2.NewReader(nil, s2.ReaderMaxBlockSize(64<<10))
	}}
	scratch = sync.Pool{New: func() any { return new(bytes.Buffer) }}

	zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxDecompressedBytes))
	})
)

// unpack decompresses at most limit bytes, and allocates not much more than maxDecompressedBytes,
// whatever the bytes claim. What it returns is the caller's.
func unpack(codec Compression, packed []byte, limit int) (plain []byte, err error) {
	in := bytes.NewReader(packed)
	switch codec {
	case CompressionGzip:
		r := gzips.Get().(*gzip.Reader)
		defer gzips.Put(r)
		if err := r.Reset(in); err != nil {
			return nil, err
		}
		plain, err = readAll(r, limit)
	case CompressionSnappy:
		r := snappies.Get().(*s2.Reader)
		defer snappies.Put(r)
		r.Reset(in)
		plain, err = readAll(r, limit)
	case CompressionLZ4:
		r := lz4s.Get().(*lz4.Reader)
		defer lz4s.Put(r)
		r.Reset(in)
		plain, err = readAll(r, limit)
	case CompressionZstd:
		decoder, err := zstdDecoder()
		if err != nil {
			return nil, err
		}
		if plain, err = decoder.DecodeAll(packed, nil); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("codec %d is not known here", codec)
	}
	if err == nil && len(plain) > limit {
		return nil, fmt.Errorf("decompressed, it is more than %d bytes", limit)
	}
	return plain, err
}

// readAll reads one byte more than the limit at most.
func readAll(r io.Reader, limit int) ([]byte, error) {
	buffer := scratch.Get().(*bytes.Buffer)
	defer scratch.Put(buffer)
	buffer.Reset()
	if _, err := buffer.ReadFrom(io.LimitReader(r, int64(limit)+1)); err != nil {
		return nil, err
	}
	return bytes.Clone(buffer.Bytes()), nil
}
