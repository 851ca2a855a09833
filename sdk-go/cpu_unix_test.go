//go:build unix

package ropewalk

import (
	"syscall"
	"time"
)

// CPUTime is the processor time that this process has used: unlike the time that passed, it does not
// tell of what else the machine does.
func CPUTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
