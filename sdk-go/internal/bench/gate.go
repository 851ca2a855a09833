package main

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// A gate says when what happens counts: after a warm-up, for a time, or until so many bytes are
// produced.
type gate struct {
	opens, closes time.Time
	left          atomic.Int64
	closedAt      atomic.Int64 // in nanoseconds after it opened; 0: in time
	counted       atomic.Int64
	taken         atomic.Int64 // records, those that do not count among them
}

func newGate(warmUp, span time.Duration, bytes int64) *gate {
	opens := time.Now().Add(warmUp)
	g := &gate{opens: opens, closes: opens.Add(span)}
	g.left.Store(bytes)
	return g
}

// take says whether so many bytes may be produced now.
func (g *gate) take(now time.Time, bytes int) bool {
	if now.After(g.closes) || g.closedAt.Load() != 0 {
		return false
	}
	if g.left.Add(int64(-bytes)) < 0 {
		g.closedAt.CompareAndSwap(0, max(int64(now.Sub(g.opens)), 1))
		return false
	}
	g.taken.Add(1)
	return true
}

// count counts a record that was acked.
func (g *gate) count(now time.Time) {
	if now.After(g.opens) && now.Before(g.closes) && g.closedAt.Load() == 0 {
		g.counted.Add(1)
	}
}

// result is what was counted, and in how long.
func (g *gate) result() (records int64, took time.Duration, err error) {
	took = g.closes.Sub(g.opens)
	if at := g.closedAt.Load(); at != 0 {
		took = time.Duration(at)
	}
	if records = g.counted.Load(); records == 0 {
		return 0, 0, errors.New("nothing counted: allow more than the warm-up takes with -max-mib")
	}
	return records, took, nil
}

// latencies counts durations by microsecond. It is safe for use by many goroutines.
type latencies struct {
	counts [1 << 20]atomic.Uint32 // those of a second and more are in the last
}

func (l *latencies) add(d time.Duration) {
	l.counts[min(max(d.Microseconds(), 0), int64(len(l.counts))-1)].Add(1)
}

// report adds percentiles to a row, if anything was timed.
func (l *latencies) report(row map[string]any) {
	total := uint64(0)
	for i := range l.counts {
		total += uint64(l.counts[i].Load())
	}
	if total == 0 {
		return
	}
	for name, part := range map[string]float64{"p50 ms": 0.5, "p99 ms": 0.99} {
		rank, seen := uint64(float64(total)*part), uint64(0)
		for i := range l.counts {
			if seen += uint64(l.counts[i].Load()); seen > rank {
				row[name] = float64(i) / 1000
				break
			}
		}
	}
}

// noise is a value that no codec makes smaller, as other benchmarks send it.
func noise(size int) []byte {
	value := make([]byte, size)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range value {
		value[i] = byte(random.Uint32())
	}
	return value
}
