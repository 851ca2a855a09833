package ropewalk

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

// A bufferPool has buffers that batches are encoded into, to be used again: a class for each power
// of two, so that no more than half of one is not used. gRPC's own has none between 32 KiB and 1
// MiB, where most batches are.
type bufferPool struct {
	classes [largestClass + 1]sync.Pool
}

// largestClass is what holds the largest batch, of 4 MiB. What is smaller than 1 KiB is not worth
// it.
const largestClass, smallestClass = 22, 10

var batchBuffers mem.BufferPool = &bufferPool{}

// Get returns a buffer of a length; what is in it is left over from before.
func (p *bufferPool) Get(length int) *[]byte {
	class := max(bits.Len(uint(max(length, 1)-1)), smallestClass)
	if class > largestClass {
		b := make([]byte, length)
		return &b
	}
	if b, ok := p.classes[class].Get().(*[]byte); ok {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length, 1<<class)
	return &b
}

// Put takes a buffer back.
func (p *bufferPool) Put(b *[]byte) {
	class := bits.Len(uint(cap(*b))) - 1
	if class >= smallestClass && class <= largestClass && cap(*b) == 1<<class {
		p.classes[class].Put(b)
	}
}

// encodeRecords encodes records as a RecordSet. The caller frees the buffer.
func encodeRecords(records []*pending) mem.Buffer {
	size := 0
	for _, s := range records {
		size += s.size
	}
	b := batchBuffers.Get(size)
	out := (*b)[:0]
	for _, s := range records {
		out = appendRecord(out, s.record)
	}
	*b = out
	return mem.NewBuffer(b, batchBuffers)
}
