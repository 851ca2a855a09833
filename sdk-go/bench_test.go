package ropewalk_test

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// Benchmarks run against the real broker where $ROPEWALK_BIN names one, else against the server in
// memory, whose cost is then part of the figures.
func benchmarkAddress(b *testing.B) string {
	if os.Getenv("ROPEWALK_BIN") != "" {
		return ropewalktest.Start(b).Address
	}
	return newServer(b).Address()
}

// Records of 1 KB, as fast as they are taken: with their answers, but nobody waits for one.
func BenchmarkSendAsync1KB(b *testing.B) {
	client := dial(b, benchmarkAddress(b))
	for _, partitions := range []int32{1, 8} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			topic := newName("bench")
			if _, err := client.Admin().CreateTopic(b.Context(), topic, partitions); err != nil {
				b.Fatal(err)
			}
			producer := newProducer(b, client)
			record := &ropewalk.Record{Topic: topic, Value: make([]byte, 1000)}
			if _, err := producer.Send(b.Context(), record); err != nil { // what is learned once
				b.Fatal(err)
			}
			var failed atomic.Int64
			b.SetBytes(int64(len(record.Value)))
			b.ReportAllocs()
			used := ropewalk.CPUTime()
			for b.Loop() {
				err := producer.SendAsync(b.Context(), record,
					func(_ *ropewalk.Record, _ ropewalk.Ack, err error) {
						if err != nil {
							failed.Add(1)
						}
					})
				if err != nil {
					b.Fatal(err)
				}
			}
			if err := producer.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(ropewalk.CPUTime()-used)/float64(b.N), "cpu-ns/op")
			if failed.Load() > 0 {
				b.Errorf("%d records failed", failed.Load())
			}
		})
	}
}

// Records of 1 KB from goroutines that each wait for their answers.
func BenchmarkSend1KB(b *testing.B) {
	client := dial(b, benchmarkAddress(b))
	for _, goroutines := range []int{1, 100} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			producer := newProducer(b, client)
			var left atomic.Int64
			left.Store(int64(b.N))
			var senders sync.WaitGroup
			b.SetBytes(1000)
			b.ReportAllocs()
			used := ropewalk.CPUTime()
			b.ResetTimer()
			for range goroutines {
				senders.Go(func() {
					record := &ropewalk.Record{Topic: "bench", Value: make([]byte, 1000)}
					for left.Add(-1) >= 0 {
						if _, err := producer.Send(b.Context(), record); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			senders.Wait()
			b.StopTimer()
			b.ReportMetric(float64(ropewalk.CPUTime()-used)/float64(b.N), "cpu-ns/op")
			if err := producer.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}
