package ropewalk_test

import (
	"os"
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

func BenchmarkSendAsync1KB(b *testing.B) {
	client := dial(b, benchmarkAddress(b))
	producer := newProducer(b, client)
	record := &ropewalk.Record{Topic: "bench", Value: make([]byte, 1000)}
	b.SetBytes(int64(len(record.Value)))
	b.ReportAllocs()
	for b.Loop() {
		if err := producer.SendAsync(b.Context(), record, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := producer.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkSend1KB(b *testing.B) {
	client := dial(b, benchmarkAddress(b))
	producer := newProducer(b, client)
	record := &ropewalk.Record{Topic: "bench", Value: make([]byte, 1000)}
	for b.Loop() {
		if _, err := producer.Send(b.Context(), record); err != nil {
			b.Fatal(err)
		}
	}
}
