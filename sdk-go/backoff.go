package ropewalk

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
)

const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 2 * time.Second
	// tryTimeout bounds a try of one address. While one that answers nothing is waited for, those that
	// refused before it are not tried again, though they may be back.
	tryTimeout = 3 * time.Second
)

// backoff is the pause before a retry, attempt being the number of tries so far: it doubles up to a
// bound, with a quarter of jitter so that clients that failed together do not return together.
func backoff(attempt int) time.Duration {
	d := backoffMost
	if attempt < 8 {
		d = min(backoffFirst<<max(attempt-1, 0), backoffMost)
	}
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

// levelOf is how loudly a failure is logged that comes after others: as a warning the 1st, 2nd, 4th, 8th
// and so on, so that an outage fills no log. Hooks are told of all of them.
func levelOf(failures int) slog.Level {
	if failures&(failures-1) == 0 {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// connectParams bounds how long gRPC waits for a connection, and between tries of one that was lost.
func connectParams(dialTimeout time.Duration) grpc.ConnectParams {
	return grpc.ConnectParams{
		Backoff: grpcbackoff.Config{
			BaseDelay: backoffFirst, Multiplier: 2, Jitter: 0.2, MaxDelay: backoffMost,
		},
		MinConnectTimeout: min(dialTimeout, tryTimeout),
	}
}
