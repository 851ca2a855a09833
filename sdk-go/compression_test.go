package ropewalk_test

import (
	"errors"
	"fmt"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// What is compressed by the producer is kept so, and read as it was, also from within a batch, which the
// broker then decompresses.
func TestCompressedRecordsAreKeptSmallAndReadAsTheyWere(t *testing.T) {
	const count = 5_000
	client := dial(t, ropewalktest.Start(t).Address)
	ctx := testContext(t)
	value := func(n int) string { return fmt.Sprintf("GET /orders/%d 200 %d ms", n%7, n*13%101) }
	sizes := map[ropewalk.Compression]int64{}
	for codec := ropewalk.CompressionNone; codec <= ropewalk.CompressionZstd; codec++ {
		topic := codec.String()
		producer := newProducer(t, client, ropewalk.WithCompression(codec))
		for n := range count {
			record := &ropewalk.Record{Topic: topic, Key: []byte("k"), Value: []byte(value(n))}
			if err := producer.SendAsync(ctx, record, func(_ *ropewalk.Record, ack ropewalk.Ack, err error) {
				if err != nil || ack.Offset != int64(n) {
					t.Errorf("%s: record %d is at %d: %v", codec, n, ack.Offset, err)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := producer.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		for _, start := range []int{0, count/2 + 1} {
			consumer := newConsumer(t, client, ropewalk.WithTopics(topic),
				ropewalk.WithStart(ropewalk.StartOffset(int64(start))), ropewalk.WithStop(ropewalk.StopCaughtUp()))
			n := start
			for record, err := range consumer.Records(ctx) {
				if err != nil {
					t.Fatalf("%s: %v", codec, err)
				}
				if record.Offset != int64(n) || string(record.Value) != value(n) {
					t.Fatalf("%s: offset %d holds %s, want %s", codec, record.Offset, record.Value, value(n))
				}
				n++
			}
			if n != count {
				t.Errorf("%s: %d of %d records were read", codec, n, count)
			}
		}
		_, partitions, err := client.Admin().GetTopic(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		sizes[codec] = partitions[0].SizeBytes
	}
	for codec, size := range sizes {
		if plain := sizes[ropewalk.CompressionNone]; codec != ropewalk.CompressionNone && size > plain/2 {
			t.Errorf("%s: %d bytes, and %d as they are", codec, size, plain)
		}
	}
}

func TestSettingsOfCompressionThatMakeNoSenseAreRefused(t *testing.T) {
	client := dial(t, newServer(t).Address())
	for name, options := range map[string][]ropewalk.ProducerOption{
		"codec":          {ropewalk.WithCompression(9)},
		"gzip":           {ropewalk.WithCompression(ropewalk.CompressionGzip), ropewalk.WithCompressionLevel(10)},
		"zstd":           {ropewalk.WithCompression(ropewalk.CompressionZstd), ropewalk.WithCompressionLevel(-1)},
		"without levels": {ropewalk.WithCompression(ropewalk.CompressionLZ4), ropewalk.WithCompressionLevel(1)},
	} {
		if _, err := client.NewProducer(options...); !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
