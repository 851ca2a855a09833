//go:build !unix

package ropewalk

import "time"

// CPUTime is not known here.
func CPUTime() time.Duration { return 0 }
