package sarama

import (
	"errors"
	"sync"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// maxCommitCalls bounds the calls that are made to find which of many partitions cannot be
// committed.
const maxCommitCalls = 64

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
// others without it. It returns the error of each, nil for one that is committed.
func commitEach(
	offsets []ropewalk.CommittedOffset, commit func([]ropewalk.CommittedOffset) error,
) []error {
	errs := make([]error, len(offsets))
	type span struct{ from, to int }
	spans := []span{{0, len(offsets)}}
	for calls := 1; len(spans) > 0; calls++ {
		s := spans[len(spans)-1]
		spans = spans[:len(spans)-1]
		if s.from == s.to {
			continue
		}
		err := commit(offsets[s.from:s.to])
		if err != nil && s.to-s.from > 1 && isOfOne(err) {
			if calls < maxCommitCalls {
				half := (s.from + s.to) / 2
				spans = append(spans, span{half, s.to}, span{s.from, half})
				continue
			}
			err = refusedTogether{err}
		}
		for i := s.from; i < s.to; i++ {
			errs[i] = err
		}
	}
	return errs
}

// refusedTogether is the error of offsets of which one is refused, and it is not known which. The
// others can be committed another time.
type refusedTogether struct{ error }

func (e refusedTogether) Unwrap() error { return e.error }

// isOfOne reports whether a refusal says something of one partition, and nothing of the others:
// that may also be its metadata, which are too long.
func isOfOne(err error) bool {
	var e *ropewalk.Error
	return errors.As(err, &e) && (e.OfOnePartition() || e.Reason == ropewalk.ReasonInvalidField)
}
