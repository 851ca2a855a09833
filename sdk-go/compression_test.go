package ropewalk_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
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
		"level alone":    {ropewalk.WithCompressionLevel(1)},
		"without levels": {ropewalk.WithCompression(ropewalk.CompressionLZ4), ropewalk.WithCompressionLevel(1)},
	} {
		if _, err := client.NewProducer(options...); !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// stored reads how batches of a topic are compressed in the log, in order.
func stored(t *testing.T, address, topic string) func() pb.Compression {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	request := &pb.SubscribeRequest{
		Topics: []*pb.TopicSelection{{Selection: &pb.TopicSelection_Name{Name: topic}}},
		AcceptedCompressions: []pb.Compression{
			pb.Compression_COMPRESSION_GZIP, pb.Compression_COMPRESSION_SNAPPY,
			pb.Compression_COMPRESSION_LZ4, pb.Compression_COMPRESSION_ZSTD,
		},
	}
	stream, err := pb.NewConsumerServiceClient(conn).Subscribe(testContext(t), request)
	if err != nil {
		t.Fatal(err)
	}
	return func() pb.Compression {
		t.Helper()
		for {
			event, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if batch := event.GetBatch(); batch != nil {
				return batch.GetCompression()
			}
		}
	}
}

// A producer that was not told how to compress does as the topic says, and follows a change when it next
// asks for the topic; one that was told does as it was told.
func TestTopicsSayHowTheyAreCompressed(t *testing.T) {
	broker := ropewalktest.Start(t)
	ctx := testContext(t)
	client := dial(t, broker.Address, ropewalk.WithMetadataAge(10*time.Millisecond))
	admin := dial(t, broker.Address).Admin()
	created, err := admin.CreateTopic(ctx, "t", 1, ropewalk.CompressedBy(ropewalk.TopicCompressionZstd))
	if err != nil || created.Settings.Compression != ropewalk.TopicCompressionZstd {
		t.Fatal(created, err)
	}
	next := stored(t, broker.Address, "t")
	value := []byte(strings.Repeat("again and ", 100))
	send := func(p *ropewalk.Producer) pb.Compression {
		t.Helper()
		if _, err := p.Send(ctx, &ropewalk.Record{Topic: "t", Value: value}); err != nil {
			t.Fatal(err)
		}
		return next()
	}
	open, told := newProducer(t, client), newProducer(t, client, ropewalk.WithCompression(ropewalk.CompressionGzip))
	never := newProducer(t, client, ropewalk.WithCompression(ropewalk.CompressionNone))
	for _, c := range []struct {
		setting ropewalk.TopicCompression
		want    pb.Compression
	}{
		{ropewalk.TopicCompressionZstd, pb.Compression_COMPRESSION_ZSTD},
		{ropewalk.TopicCompressionSnappy, pb.Compression_COMPRESSION_SNAPPY},
		{ropewalk.TopicCompressionLZ4, pb.Compression_COMPRESSION_LZ4},
		{ropewalk.TopicCompressionGzip, pb.Compression_COMPRESSION_GZIP},
		{ropewalk.TopicCompressionProducer, pb.Compression_COMPRESSION_NONE},
	} {
		setting, want := c.setting, c.want
		updated, err := admin.UpdateTopic(ctx, "t", ropewalk.CompressedBy(setting))
		if err != nil || updated.Settings.Compression != setting {
			t.Fatal(updated, err)
		}
		for send(open) != want {
			if ctx.Err() != nil {
				t.Fatalf("%s: the producer has not followed", setting)
			}
		}
		if got := send(told); got != pb.Compression_COMPRESSION_GZIP {
			t.Errorf("%s: one that was told to use gzip has used %s", setting, got)
		}
		if got := send(never); got != pb.Compression_COMPRESSION_NONE {
			t.Errorf("%s: one that was told not to compress has used %s", setting, got)
		}
	}
	reset := ropewalk.Default(ropewalk.CompressedBy(ropewalk.TopicCompressionZstd))
	updated, err := admin.UpdateTopic(ctx, "t", reset)
	if err != nil || updated.Settings.Compression != ropewalk.TopicCompressionProducer {
		t.Error(updated, err)
	}
}
