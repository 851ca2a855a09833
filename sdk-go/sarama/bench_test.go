package sarama_test

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// Benchmarks run against the real broker where $ROPEWALK_BIN names one, else against the server in
// memory, whose cost is then part of the figures. Each has the core beside it, as a control.
func benchmarkAddress(b *testing.B) string {
	if os.Getenv("ROPEWALK_BIN") != "" {
		return ropewalktest.Start(b).Address
	}
	return newServer(b).Address()
}

var payload = make([]byte, 1000)

func benchmarkConfig() *sarama.Config {
	config := testConfig()
	config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
	config.Producer.Partitioner = sarama.NewManualPartitioner
	return config
}

func benchmarkCore(b *testing.B, address string) *ropewalk.Producer {
	client, err := ropewalk.Dial(b.Context(), []string{address})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closing(b, client) })
	producer, err := client.NewProducer(ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
	if err != nil {
		b.Fatal(err)
	}
	return producer
}

// fromGoroutines calls a function b.N times, from 100 goroutines.
func fromGoroutines(b *testing.B, send func() error) {
	if err := send(); err != nil { // what is learned once
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	var senders sync.WaitGroup
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	b.ResetTimer()
	for range 100 {
		senders.Go(func() {
			for left.Add(-1) >= 0 {
				if err := send(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	senders.Wait()
}

// Messages of 1 KB from 100 goroutines that each wait for their answers.
func BenchmarkSyncProducer100(b *testing.B) {
	address := benchmarkAddress(b)
	b.Run("core", func(b *testing.B) {
		producer := benchmarkCore(b, address)
		fromGoroutines(b, func() error {
			record := &ropewalk.Record{Topic: "t", Value: payload}
			_, err := producer.Send(context.Background(), record)
			return err
		})
	})
	b.Run("sarama", func(b *testing.B) {
		producer := newProducer(b, []string{address}, benchmarkConfig())
		fromGoroutines(b, func() error {
			_, _, err := producer.SendMessage(&sarama.ProducerMessage{
				Topic: "t", Value: sarama.ByteEncoder(payload),
			})
			return err
		})
	})
}

// Messages of 1 KB, as fast as they are taken, with their answers.
func BenchmarkAsyncProducer(b *testing.B) {
	address := benchmarkAddress(b)
	b.Run("core", func(b *testing.B) {
		producer := benchmarkCore(b, address)
		var failed atomic.Int64
		b.SetBytes(int64(len(payload)))
		b.ReportAllocs()
		for b.Loop() {
			record := &ropewalk.Record{Topic: "t", Value: payload}
			err := producer.SendAsync(context.Background(), record,
				func(_ *ropewalk.Record, _ ropewalk.Ack, err error) {
					if err != nil {
						failed.Add(1)
					}
				})
			if err != nil {
				b.Fatal(err)
			}
		}
		closing(b, producer)
		if failed.Load() > 0 {
			b.Errorf("%d records failed", failed.Load())
		}
	})
	for _, successes := range []bool{true, false} {
		name := "sarama"
		if !successes {
			name = "sarama-errors-only"
		}
		b.Run(name, func(b *testing.B) { benchmarkAsync(b, address, successes) })
	}
}

func benchmarkAsync(b *testing.B, address string, successes bool) {
	config := benchmarkConfig()
	config.Producer.Return.Successes = successes
	producer, err := sarama.NewAsyncProducer([]string{address}, config)
	if err != nil {
		b.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() {
		for err := range producer.Errors() {
			b.Error(err)
		}
	})
	produced := 0
	readers.Go(func() {
		for range producer.Successes() {
			produced++
		}
	})
	sent := 0
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		producer.Input() <- &sarama.ProducerMessage{Topic: "t", Value: sarama.ByteEncoder(payload)}
		sent++
	}
	producer.AsyncClose()
	readers.Wait()
	if successes && produced != sent {
		b.Errorf("%d of %d messages were produced", produced, sent)
	}
}
