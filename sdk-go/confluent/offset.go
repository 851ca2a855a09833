package kafka

import (
	"fmt"
	"strconv"
)

// An Offset is a place in a partition, from 0, or one of the logical ones below 0.
type Offset int64

const (
	// OffsetBeginning is the first record that the partition still has.
	OffsetBeginning Offset = -2
	// OffsetEnd is behind the last record.
	OffsetEnd Offset = -1
	// OffsetInvalid says that none is set. Where a partition is assigned, it means OffsetStored.
	OffsetInvalid Offset = -1001
	// OffsetStored is what the consumer's group has committed; where it has committed nothing,
	// auto.offset.reset decides.
	OffsetStored Offset = -1000

	// tailBase is where the offsets of OffsetTail begin, downwards.
	tailBase Offset = -2000
)

// String returns beginning, end, unset, stored, or the number.
func (o Offset) String() string {
	switch o {
	case OffsetBeginning:
		return "beginning"
	case OffsetEnd:
		return "end"
	case OffsetInvalid:
		return "unset"
	case OffsetStored:
		return "stored"
	}
	return strconv.FormatInt(int64(o), 10)
}

// Set sets the offset to what [NewOffset] makes of a value; after an error it is as before.
func (o *Offset) Set(offset any) error {
	n, err := NewOffset(offset)
	if err == nil {
		*o = n
	}
	return err
}

// NewOffset makes an offset of an int, an int64, an Offset or a string: a number, or "beginning",
// "earliest", "end", "latest", "unset", "invalid" or "stored".
func NewOffset(offset any) (Offset, error) {
	switch v := offset.(type) {
	case string:
		return parseOffset(v)
	case int:
		return Offset(v), nil
	case int64:
		return Offset(v), nil
	case Offset:
		return v, nil
	}
	return OffsetInvalid, errorf(ErrInvalidArg, "Invalid offset type: %T", offset)
}

func parseOffset(text string) (Offset, error) {
	switch text {
	case "beginning", "earliest":
		return OffsetBeginning, nil
	case "end", "latest":
		return OffsetEnd, nil
	case "unset", "invalid":
		return OffsetInvalid, nil
	case "stored":
		return OffsetStored, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		// As from strconv.Atoi, which programs may look for.
		return 0, fmt.Errorf("offset %q: %w", text, err)
	}
	return Offset(n), nil
}

// OffsetTail is so many records before the end of a partition, or its beginning if it has fewer.
func OffsetTail(relativeOffset Offset) Offset { return tailBase - relativeOffset }

// tail returns how many records before the end an offset is, if OffsetTail made it.
func (o Offset) tail() (int64, bool) { return int64(tailBase - o), o <= tailBase }
