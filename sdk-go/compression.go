package ropewalk

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"google.golang.org/grpc/mem"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// Compression is how batches are compressed, in the codec's standard frame format.
type Compression int32

const (
	// CompressionNone: not at all. The default.
	CompressionNone = Compression(pb.Compression_COMPRESSION_NONE)
	// CompressionGzip: gzip members (RFC 1952).
	CompressionGzip = Compression(pb.Compression_COMPRESSION_GZIP)
	// CompressionSnappy: the snappy framing format.
	CompressionSnappy = Compression(pb.Compression_COMPRESSION_SNAPPY)
	// CompressionLZ4: LZ4 frames.
	CompressionLZ4 = Compression(pb.Compression_COMPRESSION_LZ4)
	// CompressionZstd: Zstandard frames (RFC 8878).
	CompressionZstd = Compression(pb.Compression_COMPRESSION_ZSTD)
)

// compressions are all of them.
var compressions = []Compression{
	CompressionNone, CompressionGzip, CompressionSnappy, CompressionLZ4, CompressionZstd,
}

// String returns none, gzip, snappy, lz4 or zstd.
func (c Compression) String() string {
	switch c {
	case CompressionNone:
		return "none"
	case CompressionGzip:
		return "gzip"
	case CompressionSnappy:
		return "snappy"
	case CompressionLZ4:
		return "lz4"
	case CompressionZstd:
		return "zstd"
	}
	return "unknown"
}

// levels are those that a codec has; 0 and 0 for one that has none.
func (c Compression) levels() (lowest, highest int) {
	switch c {
	case CompressionGzip:
		return gzip.BestSpeed, gzip.BestCompression
	case CompressionZstd:
		return 1, 22
	}
	return 0, 0
}

// accepted are the codecs that a consumer decompresses itself.
func accepted() []pb.Compression {
	codecs := make([]pb.Compression, len(compressions))
	for i, c := range compressions {
		codecs[i] = pb.Compression(c)
	}
	return codecs
}

// A compressor compresses batches one way. It is safe for use by many goroutines.
type compressor struct {
	codec Compression
	// pack appends the compressed form to what there is.
	pack func(to, plain []byte) ([]byte, error)
}

// newCompressor returns one for a codec; a level of 0 is the codec's default.
func newCompressor(codec Compression, level int) (*compressor, error) {
	c := &compressor{codec: codec}
	switch codec {
	case CompressionGzip:
		if level == 0 {
			level = gzip.DefaultCompression
		}
		c.pack = pooled(func() io.WriteCloser {
			w, _ := gzip.NewWriterLevel(nil, level) // the level was checked
			return w
		})
	case CompressionSnappy:
		c.pack = pooled(func() io.WriteCloser {
			return s2.NewWriter(nil, s2.WriterSnappyCompat(), s2.WriterConcurrency(1))
		})
	case CompressionLZ4:
		c.pack = pooled(func() io.WriteCloser { return lz4.NewWriter(nil) })
	case CompressionZstd:
		speed := zstd.SpeedDefault
		if level != 0 {
			speed = zstd.EncoderLevelFromZstd(level)
		}
		encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		c.pack = func(to, plain []byte) ([]byte, error) { return encoder.EncodeAll(plain, to), nil }
	}
	return c, nil
}

// compressorFor returns how batches of a topic are compressed: as the producer was told, or as the topic
// says. Only the sender calls it.
func (p *Producer) compressorFor(topic string) (*compressor, *Error) {
	codec := p.config.compression
	if !p.config.chosen {
		p.mu.Lock()
		codec = p.topics[topic].info.compression
		p.mu.Unlock()
	}
	if c := p.compressors[codec]; c != nil {
		return c, nil
	}
	c, err := newCompressor(codec, 0)
	if err != nil {
		return nil, invalidError("produce", "%s: %v", codec, err)
	}
	p.compressors[codec] = c
	return c, nil
}

// pooled compresses with writers that are used again.
func pooled(newWriter func() io.WriteCloser) func(to, plain []byte) ([]byte, error) {
	type resetter interface{ Reset(io.Writer) }
	pool := sync.Pool{New: func() any { return newWriter() }}
	return func(to, plain []byte) ([]byte, error) {
		w := pool.Get().(io.WriteCloser)
		defer pool.Put(w)
		out := bytes.NewBuffer(to)
		w.(resetter).Reset(out)
		if _, err := w.Write(plain); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		return out.Bytes(), nil
	}
}

// encode brings records into the form that goes over the wire, compressed where that makes them
// smaller.
func (c *compressor) encode(records []*pending) *encodedBatch {
	e := &encodedBatch{data: encodeRecords(records), compression: CompressionNone}
	if c.pack == nil {
		return e
	}
	plain := e.data.ReadOnlyData()
	to := batchBuffers.Get(len(plain))
	packed, err := c.pack((*to)[:0], plain)
	if err != nil || len(packed) >= len(plain) {
		batchBuffers.Put(to)
		return e
	}
	e.data.Free()
	*to = packed
	e.data, e.compression = mem.NewBuffer(to, batchBuffers), c.codec
	e.count, e.shortest = len(records), shortestTTL(records)
	return e
}

// shortestTTL is the shortest time to live of some records, 0 where none has any.
func shortestTTL(records []*pending) time.Duration {
	shortest := time.Duration(0)
	for _, s := range records {
		if ttl := s.record.TTL; ttl != 0 && (shortest == 0 || ttl < shortest) {
			shortest = ttl
		}
	}
	return shortest
}
