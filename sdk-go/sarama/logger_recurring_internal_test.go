package sarama

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A cause is logged once an interval, with how often it came up; another one is not held back by
// it.
func TestRecurringCauses(t *testing.T) {
	r, now := recurring{every: time.Second}, time.Unix(1_700_000_000, 0)
	for _, test := range []struct {
		op    string
		after time.Duration
		more  string
		due   bool
	}{
		{"produce", 0, "", true},
		{"produce", 0, "", false},
		{"consume", 500 * time.Millisecond, "", true},
		{"produce", 999 * time.Millisecond, "", false},
		{"produce", time.Second, "; as were 2 before", true},
		{"produce", 1500 * time.Millisecond, "", false},
		{"consume", 1500 * time.Millisecond, "", true},
	} {
		c := cause{test.op, ropewalk.ReasonNoQuorum, codes.Unavailable}
		if more, due := r.due(c, now.Add(test.after)); more != test.more || due != test.due {
			t.Errorf("%+v: %q, %v", test, more, due)
		}
	}
}

// Thousands of messages that fail for one cause are not thousands of lines.
func TestMapErrorLogsACauseOnce(t *testing.T) {
	log := logLines(t)
	mappings.mu.Lock()
	mappings.every, mappings.causes = time.Hour, nil
	mappings.mu.Unlock()
	t.Cleanup(func() {
		mappings.mu.Lock()
		mappings.every, mappings.causes = mappedEvery, nil
		mappings.mu.Unlock()
	})
	for range 5000 {
		err := &ropewalk.Error{Op: "produce", Reason: ropewalk.ReasonNoQuorum, Message: "no quorum"}
		if mapped := mapError(err); mapped != ErrNotEnoughReplicas {
			t.Fatal(mapped)
		}
	}
	if n := log.count("returned as"); n != 1 {
		t.Errorf("%d lines", n)
	}
}
