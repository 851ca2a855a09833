package ropewalk

import (
	"math/bits"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// fieldSize is the encoded size of a length-delimited field whose number is below 16.
func fieldSize(n int) int { return 1 + varintSize(uint64(n)) + n }

func varintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// encodedSize is the size of the record in its encoded form, which is what max_record_bytes bounds.
func (r *Record) encodedSize() int {
	n := 0
	if r.Key != nil {
		n += fieldSize(len(r.Key))
	}
	if r.Value != nil {
		n += fieldSize(len(r.Value))
	}
	for i := range r.Headers {
		n += fieldSize(r.Headers[i].encodedSize())
	}
	if !r.Timestamp.IsZero() {
		n += fieldSize(stampOf(r.Timestamp).encodedSize())
	}
	if r.TTL != 0 {
		n += fieldSize(spanOf(r.TTL).encodedSize())
	}
	return n
}

func (h *Header) encodedSize() int {
	n := 0
	if h.Key != "" {
		n += fieldSize(len(h.Key))
	}
	if h.Value != nil {
		n += fieldSize(len(h.Value))
	}
	return n
}

// stampOf is a time as a Timestamp.
func stampOf(t time.Time) wireTime { return wireTime{t.Unix(), int32(t.Nanosecond())} }

// spanOf is a time as a Duration.
func spanOf(d time.Duration) wireTime {
	return wireTime{int64(d / time.Second), int32(d % time.Second)}
}

func (t wireTime) encodedSize() int {
	n := 0
	if t.seconds != 0 {
		n += 1 + varintSize(uint64(t.seconds))
	}
	if t.nanos != 0 {
		n += 1 + varintSize(uint64(t.nanos))
	}
	return n
}

// appendRecord appends a record as one of a RecordSet, with the bytes that proto.Marshal would give
// it: straight into its place, where a message for each would cost as much again.
func appendRecord(out []byte, r *Record) []byte {
	out = appendTag(out, setRecord, r.encodedSize())
	if r.Key != nil {
		out = append(appendTag(out, recordKey, len(r.Key)), r.Key...)
	}
	if r.Value != nil {
		out = append(appendTag(out, recordValue, len(r.Value)), r.Value...)
	}
	for i := range r.Headers {
		h := &r.Headers[i]
		out = appendTag(out, recordHeaders, h.encodedSize())
		if h.Key != "" {
			out = append(appendTag(out, headerKey, len(h.Key)), h.Key...)
		}
		if h.Value != nil {
			out = append(appendTag(out, headerValue, len(h.Value)), h.Value...)
		}
	}
	if !r.Timestamp.IsZero() {
		out = stampOf(r.Timestamp).append(out, recordTimestamp)
	}
	if r.TTL != 0 {
		out = spanOf(r.TTL).append(out, recordTTL)
	}
	return out
}

func (t wireTime) append(out []byte, tag uint64) []byte {
	out = appendTag(out, tag, t.encodedSize())
	if t.seconds != 0 {
		out = protowire.AppendVarint(append(out, byte(timeSeconds)), uint64(t.seconds))
	}
	if t.nanos != 0 {
		out = protowire.AppendVarint(append(out, byte(timeNanos)), uint64(t.nanos))
	}
	return out
}

// appendTag begins a field of so many bytes whose number is below 16.
func appendTag(out []byte, tag uint64, n int) []byte {
	return protowire.AppendVarint(append(out, byte(tag)), uint64(n))
}
