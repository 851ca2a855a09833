package sarama

import (
	"compress/gzip"
	"fmt"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// CompressionCodec is how a producer compresses batches.
type CompressionCodec int8

const (
	// CompressionNone: as the topic says, which is not at all unless it was set.
	CompressionNone CompressionCodec = iota
	// CompressionGZIP: gzip.
	CompressionGZIP
	// CompressionSnappy: snappy, in its framing format.
	CompressionSnappy
	// CompressionLZ4: LZ4 frames.
	CompressionLZ4
	// CompressionZSTD: Zstandard.
	CompressionZSTD
)

// CompressionLevelDefault stands for the codec's own level.
const CompressionLevelDefault = -1000

// codecs are those of the core, and the highest levels they have: 0 for none.
var codecs = map[CompressionCodec]struct {
	core    ropewalk.Compression
	highest int
}{
	CompressionNone:   {ropewalk.CompressionNone, 0},
	CompressionGZIP:   {ropewalk.CompressionGzip, 9},
	CompressionSnappy: {ropewalk.CompressionSnappy, 0},
	CompressionLZ4:    {ropewalk.CompressionLZ4, 0},
	CompressionZSTD:   {ropewalk.CompressionZstd, 22},
}

// String returns none, gzip, snappy, lz4 or zstd.
func (cc CompressionCodec) String() string { return codecs[cc].core.String() }

// MarshalText returns the codec's name.
func (cc CompressionCodec) MarshalText() ([]byte, error) { return []byte(cc.String()), nil }

// UnmarshalText takes a codec's name.
func (cc *CompressionCodec) UnmarshalText(text []byte) error {
	for codec := range codecs {
		if codec.String() == string(text) {
			*cc = codec
			return nil
		}
	}
	return fmt.Errorf("cannot parse %q as a compression codec", text)
}

// isLevel is whether a codec has a level.
func (cc CompressionCodec) isLevel(level int) bool {
	return cc.isDefault(level) || level >= 1 && level <= codecs[cc].highest
}

// isDefault is whether a level stands for the codec's own; gzip has another name for it, of its
// package.
func (cc CompressionCodec) isDefault(level int) bool {
	return level == CompressionLevelDefault ||
		cc == CompressionGZIP && level == gzip.DefaultCompression
}

// options are those of the core. None, which is also what nobody has set, leaves it to the topic.
func (cc CompressionCodec) options(level int) []ropewalk.ProducerOption {
	if cc == CompressionNone {
		return nil
	}
	options := []ropewalk.ProducerOption{ropewalk.WithCompression(codecs[cc].core)}
	if !cc.isDefault(level) {
		options = append(options, ropewalk.WithCompressionLevel(level))
	}
	return options
}
