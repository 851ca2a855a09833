package ropewalk

import (
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A receivedBatch is a record batch as a stream brought it: what is said of it, and its records as
// they are encoded. It is decoded by hand, because a generated message would be an object for each
// record, and a copy of each of its fields.
type receivedBatch struct {
	topic     string
	partition int32
	base      int64
	count     int32
	// offsets are those of the records, where some between them are gone.
	offsets  []int64
	epoch    int64
	appended time.Time
	byAppend bool
	codec    Compression
	// data is the encoded RecordSet, or that compressed. It is the batch's own.
	data     []byte
	isPacked bool
	// plain is the size of the RecordSet, once it was opened.
	plain int
}

// The fields of a RecordBatch.
const (
	batchTopic         = 1<<3 | bytesField
	batchPartition     = 2<<3 | varintField
	batchBase          = 3<<3 | varintField
	batchCount         = 4<<3 | varintField
	batchEpoch         = 5<<3 | varintField
	batchAppendTime    = 6<<3 | bytesField
	batchTimestampType = 7<<3 | varintField
	batchCodec         = 8<<3 | varintField
	batchRecords       = 9<<3 | bytesField
	batchCompressed    = 10<<3 | bytesField
	batchOffset        = 11<<3 | varintField
	batchOffsets       = 11<<3 | bytesField
)

// parse takes the fields of an encoded batch, whose bytes are the batch's from then on. It refuses
// what protobuf takes where that makes no sense: records in several pieces, which it would put
// together, and offsets that cannot be.
func (b *receivedBatch) parse(encoded []byte) *Error {
	hasData, time := false, wireTime{}
	for len(encoded) > 0 {
		f, ok := nextField(&encoded)
		if !ok {
			return b.corrupt("it cannot be parsed")
		}
		switch f.tag {
		case batchTopic:
			ok = utf8.Valid(f.bytes)
			b.topic = string(f.bytes)
		case batchPartition:
			b.partition = int32(f.number)
		case batchBase:
			b.base = int64(f.number)
		case batchCount:
			b.count = int32(f.number)
		case batchEpoch:
			b.epoch = int64(f.number)
		case batchAppendTime:
			ok = time.parse(f.bytes)
		case batchTimestampType:
			b.byAppend = pb.TimestampType(f.number) == pb.TimestampType_TIMESTAMP_TYPE_APPEND
		case batchCodec:
			b.codec = Compression(f.number)
		case batchRecords, batchCompressed:
			if hasData {
				return b.corrupt("its records come in several pieces")
			}
			hasData, b.data, b.isPacked = true, f.bytes, f.tag == batchCompressed
		case batchOffset:
			b.offsets = append(b.offsets, int64(f.number))
		case batchOffsets:
			b.offsets, ok = appendPacked(b.offsets, f.bytes)
		}
		if !ok {
			return b.corrupt("it cannot be parsed")
		}
	}
	b.appended = time.asTime()
	return b.check()
}

// end is the offset after the last record.
func (b *receivedBatch) end() int64 {
	if n := len(b.offsets); n > 0 {
		return b.offsets[n-1] + 1
	}
	return b.base + int64(b.count)
}

// offset is that of record i.
func (b *receivedBatch) offset(i int) int64 {
	if len(b.offsets) > 0 {
		return b.offsets[i]
	}
	return b.base + int64(i)
}

// check refuses a batch whose offsets cannot be.
func (b *receivedBatch) check() *Error {
	count := int64(b.count)
	if count < 0 || count == 0 && len(b.data) > 0 || b.base < 0 || b.base > math.MaxInt64-count {
		return b.corrupt("it cannot have %d records", count)
	}
	if len(b.offsets) == 0 {
		return nil
	}
	if int64(len(b.offsets)) != count {
		return b.corrupt("it names %d offsets of %d records", len(b.offsets), count)
	}
	last := int64(-1)
	for _, offset := range b.offsets {
		if offset <= last || offset == math.MaxInt64 {
			return b.corrupt("its offsets do not ascend")
		}
		last = offset
	}
	return nil
}

func (b *receivedBatch) corrupt(format string, args ...any) *Error {
	return newError("consume", ReasonCorruptBatch, codes.DataLoss, OutcomeNo,
		"a batch of %s/%d at offset %d is damaged: %s",
		b.topic, b.partition, b.base, fmt.Sprintf(format, args...))
}
