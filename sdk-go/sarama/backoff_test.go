package sarama_test

import (
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func TestExponentialBackoff(t *testing.T) {
	pause := sarama.NewExponentialBackoff(100*time.Millisecond, time.Second)
	for retries, want := range map[int]time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 3: 400 * time.Millisecond,
	} {
		seen := map[time.Duration]bool{}
		for range 100 {
			got := pause(retries, 10)
			if got < want*8/10 || got > want*12/10 {
				t.Errorf("pause %d is %v", retries, got)
			}
			seen[got] = true
		}
		if len(seen) < 2 {
			t.Errorf("pause %d does not vary", retries)
		}
	}
	for _, retries := range []int{6, 64, 65, 1 << 40} {
		if got := pause(retries, 10); got != time.Second {
			t.Errorf("pause %d is %v", retries, got)
		}
	}
	if got := pause(0, 10); got != 100*time.Millisecond {
		t.Errorf("without a failure: %v", got)
	}
	if got := sarama.NewExponentialBackoff(0, 0)(0, 0); got != 100*time.Millisecond {
		t.Errorf("by default: %v", got)
	}
	if got := sarama.NewExponentialBackoff(time.Minute, time.Second)(0, 0); got != time.Second {
		t.Errorf("above the maximum: %v", got)
	}
}
