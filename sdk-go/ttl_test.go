package ropewalk_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// A record that says how long it lives is read until then, with what it says, also from a compressed
// batch; in a compacted topic it is a tombstone after that.
func TestRecordsLiveAsLongAsTheySay(t *testing.T) {
	client := dial(t, ropewalktest.Start(t).Address)
	ctx := testContext(t)
	value := bytes.Repeat([]byte("again and "), 100)
	for name, c := range map[string]struct {
		codec   ropewalk.Compression
		cleanup ropewalk.CleanupPolicy
		want    []int64
	}{
		"plain":      {ropewalk.CompressionNone, ropewalk.CleanupDelete, []int64{0, 2}},
		"compressed": {ropewalk.CompressionZstd, ropewalk.CleanupDelete, []int64{0, 2}},
		"table":      {ropewalk.CompressionZstd, ropewalk.CleanupCompact, []int64{0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := client.Admin().CreateTopic(ctx, name, 1, ropewalk.Cleanup(c.cleanup)); err != nil {
				t.Fatal(err)
			}
			producer := newProducer(t, client, ropewalk.WithCompression(c.codec))
			for _, r := range []ropewalk.Record{
				{Key: []byte("long"), TTL: 90 * time.Minute},
				{Key: []byte("short"), TTL: time.Millisecond},
				{Key: []byte("ever")},
			} {
				r.Topic, r.Value = name, value
				if _, err := producer.Send(ctx, &r); err != nil {
					t.Fatal(err)
				}
			}
			read := func() (offsets []int64, records []*ropewalk.Record) {
				consumer := newConsumer(t, client, ropewalk.WithTopics(name),
					ropewalk.WithStart(ropewalk.StartEarliest()), ropewalk.WithStop(ropewalk.StopCaughtUp()))
				defer consumer.Close()
				for record, err := range consumer.Records(ctx) {
					if err != nil {
						t.Fatal(err)
					}
					offsets, records = append(offsets, record.Offset), append(records, record)
				}
				return offsets, records
			}
			for {
				offsets, records := read()
				isOver := slices.Equal(offsets, c.want)
				if c.cleanup == ropewalk.CleanupCompact {
					isOver = isOver && records[1].Value == nil && records[1].TTL == time.Millisecond
				}
				if isOver {
					if records[0].TTL != 90*time.Minute || records[len(records)-1].TTL != 0 {
						t.Errorf("they live for %v and %v", records[0].TTL, records[len(records)-1].TTL)
					}
					return
				}
				if ctx.Err() != nil {
					t.Fatalf("offsets %v, want %v", offsets, c.want)
				}
			}
		})
	}
	producer := newProducer(t, client)
	for _, ttl := range []time.Duration{-1, time.Millisecond - 1} {
		_, err := producer.Send(ctx, &ropewalk.Record{Topic: "plain", TTL: ttl})
		if !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("%v: %v", ttl, err)
		}
	}
}
