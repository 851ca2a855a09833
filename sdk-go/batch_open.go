package ropewalk

import "sort"

const (
	// recordsAtOnce is how many records of a batch are decoded at once, and after so many headers
	// no further record is begun: a few MiB. An encoded record can be a hundredth of a decoded one,
	// and a compressed one less than that.
	recordsAtOnce = 16 << 10
	headersAtOnce = recordsAtOnce
)

// An openedBatch is what is left of a batch whose records are being handed out. The zero value is
// one of which nothing is.
type openedBatch struct {
	batch *receivedBatch
	era   era
	// encoded are the records from number next on; those from number end on are not wanted.
	encoded   []byte
	next, end int
	slabs     recordSlabs
}

// open decompresses a batch, and finds those of its records, of an era, from one offset up to
// another: a broker may cut compressed batches at no record.
func (b *receivedBatch) open(from, to int64, e era) (openedBatch, *Error) {
	encoded := b.data
	if b.isPacked {
		var err error
		if encoded, err = unpack(b.codec, encoded, maxDecompressedBytes); err != nil {
			return openedBatch{}, b.corrupt("it cannot be decompressed: %s: %v", b.codec, err)
		}
	}
	b.plain = len(encoded)
	count, ok := countRecords(encoded)
	if !ok {
		return openedBatch{}, b.corrupt("its records cannot be parsed")
	}
	if int(b.count) != count {
		return openedBatch{}, b.corrupt("it announces %d records and holds %d", b.count, count)
	}
	opened := openedBatch{batch: b, era: e, encoded: encoded, end: b.firstFrom(to)}
	for first := b.firstFrom(from); opened.next < first; {
		if f, _ := nextField(&opened.encoded); f.tag == setRecord {
			opened.next++
		}
	}
	return opened, nil
}

// firstFrom is the number of the first record at an offset or behind it.
func (b *receivedBatch) firstFrom(offset int64) int {
	return sort.Search(int(b.count), func(i int) bool { return b.offset(i) >= offset })
}

// more reports whether there are records to come.
func (o *openedBatch) more() bool { return o.next < o.end }

// piece returns the records that come next, at least one, and lets go of the batch with the last.
// They are cut from one slab, as their headers are; their keys and values are those of the message,
// or of what was decompressed.
func (o *openedBatch) piece() ([]Record, *Error) {
	b := o.batch
	records := make([]Record, min(o.end-o.next, recordsAtOnce))
	o.slabs.made = 0
	n := 0
	for n < len(records) && o.slabs.made < headersAtOnce {
		f, _ := nextField(&o.encoded) // all of them were counted
		if f.tag != setRecord {
			continue
		}
		r := &records[n]
		r.Topic, r.Partition, r.Offset = b.topic, b.partition, b.offset(o.next)
		r.Timestamp, r.LeaderEpoch, r.era = b.appended, b.epoch, o.era
		if r.TimestampType = TimestampCreate; b.byAppend {
			r.TimestampType = TimestampAppend
		}
		o.slabs.left = len(records) - n
		if !o.slabs.parse(r, f.bytes, b.byAppend) {
			return nil, b.corrupt("record %d cannot be parsed", o.next)
		}
		o.next++
		n++
	}
	if !o.more() {
		*o = openedBatch{}
	}
	return records[:n:n], nil
}
