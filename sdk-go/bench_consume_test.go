package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// consumedRecords of 1 KB are read in each turn of a benchmark.
const consumedRecords = 50_000

// filled is a client of a broker that has what is to be read, and the topic.
func filled(b *testing.B) (client *ropewalk.Client, topic string) {
	b.Helper()
	client, topic = dial(b, benchmarkAddress(b)), newName("consume")
	producer := newProducer(b, client)
	record := &ropewalk.Record{Topic: topic, Value: make([]byte, 1000)}
	for range consumedRecords {
		if err := producer.SendAsync(b.Context(), record, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := producer.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	return client, topic
}

// benchmarkReading measures how everything is read once, with the allocations of a record: those of
// the server in memory are among them, where there is no other.
func benchmarkReading(b *testing.B, read func(turn int) error) {
	b.Helper()
	b.SetBytes(consumedRecords * 1000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	turns := 0
	for ; b.Loop(); turns++ {
		if err := read(turns); err != nil {
			b.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	records := float64(turns * consumedRecords)
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/records, "allocs/record")
	b.ReportMetric(records/b.Elapsed().Seconds(), "records/s")
}

// polled reads so many records by Poll.
func polled(ctx context.Context, poll func(context.Context) ([]ropewalk.Record, error)) error {
	for read := 0; read < consumedRecords; {
		records, err := poll(ctx)
		if err != nil {
			return err
		}
		read += len(records)
	}
	return nil
}

func BenchmarkConsume1KB(b *testing.B) {
	client, topic := filled(b)
	ways := map[string]func(*ropewalk.Consumer) error{
		"Poll": func(k *ropewalk.Consumer) error { return polled(b.Context(), k.Poll) },
		"Next": func(k *ropewalk.Consumer) error {
			for {
				if _, err := k.Next(b.Context()); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
			}
		},
		"Records": func(k *ropewalk.Consumer) error {
			for _, err := range k.Records(b.Context()) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	for _, name := range []string{"Poll", "Next", "Records"} {
		b.Run(name, func(b *testing.B) {
			benchmarkReading(b, func(int) error {
				consumer, err := client.NewConsumer(b.Context(), ropewalk.WithTopics(topic),
					ropewalk.WithStop(ropewalk.StopCaughtUp()))
				if err != nil {
					return err
				}
				return errors.Join(ways[name](consumer), consumer.Close())
			})
		})
	}
}

func BenchmarkGroupConsume1KB(b *testing.B) {
	client, topic := filled(b)
	ways := map[string]func(*ropewalk.GroupConsumer) error{
		"Poll": func(g *ropewalk.GroupConsumer) error { return polled(b.Context(), g.Poll) },
		"Next": func(g *ropewalk.GroupConsumer) error {
			for range consumedRecords {
				if _, err := g.Next(b.Context()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	for _, name := range []string{"Poll", "Next"} {
		b.Run(name, func(b *testing.B) {
			benchmarkReading(b, func(turn int) error {
				group := fmt.Sprintf("%s-%s-%d", topic, name, turn)
				member, err := client.JoinGroup(b.Context(), group, ropewalk.GroupTopics(topic))
				if err != nil {
					return err
				}
				return errors.Join(ways[name](member), member.Close())
			})
		})
	}
}
