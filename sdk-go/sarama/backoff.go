package sarama

import (
	"math/rand/v2"
	"time"
)

// NewExponentialBackoff makes a BackoffFunc whose pauses double: the first is backoff, and none is
// longer than maxBackoff. They vary by a fifth up and down, so that clients do not all try again at
// one time. What is not above 0 stands for the defaults, 100 ms and 1 s.
func NewExponentialBackoff(
	backoff time.Duration, maxBackoff time.Duration,
) func(retries, maxRetries int) time.Duration {
	if backoff <= 0 {
		backoff = 100 * time.Millisecond
	}
	if maxBackoff <= 0 {
		maxBackoff = time.Second
	}
	if backoff > maxBackoff {
		Logger.Printf("a backoff of %v is above its maximum, %v is used\n", backoff, maxBackoff)
		backoff = maxBackoff
	}
	return func(retries, _ int) time.Duration {
		if retries <= 0 {
			return backoff
		}
		pause := float64(backoff)
		for range retries - 1 {
			if pause *= 2; pause > 2*float64(maxBackoff) {
				return maxBackoff // whatever it varies by, and however many are to come
			}
		}
		return time.Duration(min(pause*(0.8+0.4*rand.Float64()), float64(maxBackoff)))
	}
}
