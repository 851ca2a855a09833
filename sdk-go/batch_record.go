package ropewalk

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The tag of a field is its number and how it is encoded.
const (
	varintField = uint64(protowire.VarintType)
	bytesField  = uint64(protowire.BytesType)
)

// The fields of a RecordSet, a Record, a Header, and of a Timestamp or Duration.
const (
	setRecord = 1<<3 | bytesField

	recordKey       = 1<<3 | bytesField
	recordKeyText   = 2<<3 | bytesField
	recordValue     = 3<<3 | bytesField
	recordText      = 4<<3 | bytesField
	recordHeaders   = 5<<3 | bytesField
	recordTimestamp = 6<<3 | bytesField
	recordTTL       = 7<<3 | bytesField

	headerKey   = 1<<3 | bytesField
	headerValue = 2<<3 | bytesField
	headerText  = 3<<3 | bytesField

	timeSeconds = 1<<3 | varintField
	timeNanos   = 2<<3 | varintField
)

// A wireField is one field of an encoded message.
type wireField struct {
	tag uint64
	// number is what a varint field holds.
	number uint64
	// bytes is what a field of a text, bytes or a message holds, and nothing behind it. It is not
	// nil, also where it is empty.
	bytes []byte
}

// nextField cuts the first field off an encoded message. It reports false where there is none. Tags
// and lengths of one byte are the most: they take no call.
func nextField(encoded *[]byte) (f wireField, ok bool) {
	b := *encoded
	n := 0
	if len(b) > 0 && b[0] < 0x80 {
		f.tag, n = uint64(b[0]), 1
	} else if f.tag, n = protowire.ConsumeVarint(b); n < 0 {
		return f, false
	}
	if num := f.tag >> 3; num == 0 || num > uint64(protowire.MaxValidNumber) {
		return f, false
	}
	b = b[n:]
	switch protowire.Type(f.tag & 7) {
	case protowire.BytesType:
		size := uint64(0)
		if len(b) > 0 && b[0] < 0x80 {
			size, n = uint64(b[0]), 1
		} else if size, n = protowire.ConsumeVarint(b); n < 0 {
			return f, false
		}
		if b = b[n:]; size > uint64(len(b)) {
			return f, false
		}
		f.bytes, *encoded = b[:size:size], b[size:]
		return f, true
	case protowire.VarintType:
		f.number, n = protowire.ConsumeVarint(b)
	default:
		num, kind := protowire.DecodeTag(f.tag)
		n = protowire.ConsumeFieldValue(num, kind, b)
	}
	if n < 0 {
		return f, false
	}
	*encoded = b[n:]
	return f, true
}

// countRecords counts the records of an encoded RecordSet, and reports whether it is one as far as
// they go.
func countRecords(encoded []byte) (count int, ok bool) {
	for len(encoded) > 0 {
		f, ok := nextField(&encoded)
		if !ok {
			return 0, false
		}
		if f.tag == setRecord {
			count++
		}
	}
	return count, true
}

// appendPacked appends the numbers of a packed field.
func appendPacked(list []int64, packed []byte) (_ []int64, ok bool) {
	count := 0
	for _, b := range packed {
		if b < 0x80 { // the last of a number
			count++
		}
	}
	list = slices.Grow(list, count)
	for len(packed) > 0 {
		v, n := protowire.ConsumeVarint(packed)
		if n < 0 {
			return list, false
		}
		list, packed = append(list, int64(v)), packed[n:]
	}
	return list, true
}

// wireTime is a Timestamp or a Duration.
type wireTime struct {
	seconds int64
	nanos   int32
}

// parse takes the fields that are encoded, and leaves the others.
func (t *wireTime) parse(encoded []byte) bool {
	for len(encoded) > 0 {
		f, ok := nextField(&encoded)
		if !ok {
			return false
		}
		switch f.tag {
		case timeSeconds:
			t.seconds = int64(f.number)
		case timeNanos:
			t.nanos = int32(f.number)
		}
	}
	return true
}

func (t *wireTime) asTime() time.Time {
	return (&timestamppb.Timestamp{Seconds: t.seconds, Nanos: t.nanos}).AsTime()
}

func (t *wireTime) asDuration() time.Duration {
	return (&durationpb.Duration{Seconds: t.seconds, Nanos: t.nanos}).AsDuration()
}

const (
	// headerSlab is how many headers are made at once, at most, beyond what a record needs.
	headerSlab = 1024
	// keySlab is how many bytes of their keys are.
	keySlab = 1024
	// maxHeaders is more than a record can have: brokers take 64 KiB of them, encoded.
	maxHeaders = 64 << 10
)

// recordSlabs are what the records of a batch are made of beside themselves.
type recordSlabs struct {
	// left is how many records are to come, with the present one.
	left    int
	headers []Header
	// made is how many headers were given out.
	made int
	// before are the headers of the record before: most records have the same keys.
	before []Header
	keys   strings.Builder
}

// parse takes the fields of an encoded record. Where a field is a text, it is the bytes of that. It
// reports false for what is no record.
func (s *recordSlabs) parse(r *Record, encoded []byte, byAppend bool) bool {
	var keyText, text []byte
	var stamp, ttl wireTime
	hasStamp, hasTTL := false, false
	for whole := encoded; len(encoded) > 0; {
		f, ok := nextField(&encoded)
		if !ok {
			return false
		}
		switch f.tag {
		case recordKey:
			r.Key = f.bytes
		case recordKeyText:
			keyText, ok = f.bytes, utf8.Valid(f.bytes)
		case recordValue:
			r.Value = f.bytes
		case recordText:
			text, ok = f.bytes, utf8.Valid(f.bytes)
		case recordHeaders:
			if r.Headers == nil {
				r.Headers = s.makeHeaders(whole)
			}
			ok = r.Headers != nil && s.addHeader(r, f.bytes)
		case recordTimestamp:
			hasStamp, ok = true, stamp.parse(f.bytes)
		case recordTTL:
			hasTTL, ok = true, ttl.parse(f.bytes)
		}
		if !ok {
			return false
		}
	}
	if r.Key == nil {
		r.Key = keyText
	}
	if r.Value == nil {
		r.Value = text
	}
	if hasStamp && !byAppend {
		r.Timestamp = stamp.asTime()
	}
	if hasTTL {
		r.TTL = ttl.asDuration()
	}
	if r.Headers != nil {
		s.before = r.Headers
	}
	return true
}

// makeHeaders makes room for the headers of an encoded record, and for as many of each that is
// left; nil where those are more than a record can have.
func (s *recordSlabs) makeHeaders(record []byte) []Header {
	n := 0
	for len(record) > 0 {
		f, ok := nextField(&record)
		if !ok {
			break // whoever takes the fields meets it, too
		}
		if f.tag == recordHeaders {
			n++
		}
	}
	if n > maxHeaders {
		return nil
	}
	if s.made += n; len(s.headers) < n {
		s.headers = make([]Header, max(n, min(n*s.left, headerSlab)))
	}
	made := s.headers[:0:n]
	s.headers = s.headers[n:]
	return made
}

// addHeader takes a header of a record.
func (s *recordSlabs) addHeader(r *Record, encoded []byte) bool {
	var key, text []byte
	var h Header
	for len(encoded) > 0 {
		f, ok := nextField(&encoded)
		if !ok {
			return false
		}
		switch f.tag {
		case headerKey:
			key, ok = f.bytes, utf8.Valid(f.bytes)
		case headerValue:
			h.Value = f.bytes
		case headerText:
			text, ok = f.bytes, utf8.Valid(f.bytes)
		}
		if !ok {
			return false
		}
	}
	if h.Value == nil {
		h.Value = text
	}
	h.Key = s.key(len(r.Headers), key)
	r.Headers = append(r.Headers, h)
	return true
}

// key is the key of a record's header number i.
func (s *recordSlabs) key(i int, key []byte) string {
	if i < len(s.before) && s.before[i].Key == string(key) {
		return s.before[i].Key
	}
	if s.keys.Cap()-s.keys.Len() < len(key) {
		s.keys.Reset() // those in it stay as they are
		s.keys.Grow(max(len(key), min(64*s.left, keySlab)))
	}
	at := s.keys.Len()
	s.keys.Write(key)
	return s.keys.String()[at:]
}
