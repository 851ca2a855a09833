package sarama

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A cause is what errors have in common that are logged once. There are few of them.
type cause struct {
	op     string
	reason ropewalk.Reason
	code   codes.Code
}

// recurring says of each cause whether it is to be logged again.
type recurring struct {
	every time.Duration

	mu     sync.Mutex
	causes map[cause]*recurrence
}

// recurrence is when a cause was logged last, and how often it came up since and was not.
type recurrence struct {
	logged time.Time
	left   int
}

// due reports whether a cause is to be logged now, and says how many like it were left out before.
func (r *recurring) due(c cause, now time.Time) (more string, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.causes == nil {
		r.causes = map[cause]*recurrence{}
	}
	found := r.causes[c]
	if found == nil {
		found = &recurrence{}
		r.causes[c] = found
	}
	if now.Sub(found.logged) < r.every {
		found.left++
		return "", false
	}
	if found.left > 0 {
		more = fmt.Sprintf("; as were %d before", found.left)
	}
	found.logged, found.left = now, 0
	return more, true
}
