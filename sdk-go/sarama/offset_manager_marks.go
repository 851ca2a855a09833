package sarama

import (
	"errors"
	"sync"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/halving"
)

// commitPause is what lies between one try to commit and the next.
const commitPause = 100 * time.Millisecond

// marks are what a program has marked of a partition, to be committed.
type marks struct {
	mu       sync.Mutex
	offset   int64
	metadata string
	dirty    bool
}

// begin is where the group is, or -1.
func (m *marks) begin(offset int64, metadata string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offset, m.metadata = offset, metadata
}

// mark goes forward only.
func (m *marks) mark(offset int64, metadata string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if offset > m.offset {
		m.offset, m.metadata, m.dirty = offset, metadata, true
	}
}

// reset goes back only; what is marked may have its metadata changed.
func (m *marks) reset(offset int64, metadata string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if offset <= m.offset {
		m.offset, m.metadata, m.dirty = offset, metadata, true
	}
}

// move goes anywhere.
func (m *marks) move(offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offset, m.metadata, m.dirty = offset, "", true
}

func (m *marks) get() (offset int64, metadata string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.offset, m.metadata
}

// toCommit is what is marked, and whether it is to be committed.
func (m *marks) toCommit() (offset int64, metadata string, dirty bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.offset, m.metadata, m.dirty
}

// committed notes a commit. What was marked meanwhile is still to be committed.
func (m *marks) committed(o ropewalk.CommittedOffset) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.offset == o.Offset && m.metadata == o.Metadata {
		m.dirty = false
	}
}

// commitEach commits offsets together. Where one of them has all of them refused, it commits the
// others without it.
func commitEach(
	offsets []ropewalk.CommittedOffset, commit func([]ropewalk.CommittedOffset) error,
) []halving.Result {
	return halving.Each(offsets, commit, isOfOne)
}

// isOfOne reports whether a refusal says something of one partition, and nothing of the others:
// that may also be its metadata, which are too long.
func isOfOne(err error) bool {
	var e *ropewalk.Error
	return errors.As(err, &e) && (e.OfOnePartition() || e.Reason == ropewalk.ReasonInvalidField)
}
