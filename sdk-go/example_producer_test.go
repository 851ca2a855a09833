package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"sync/atomic"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// exampleClient is a client of a broker that stands in for a real one.
func exampleClient(options ...ropewalk.ClientOption) (
	ctx context.Context, client *ropewalk.Client, stop func(),
) {
	address, end := exampleServer() // "localhost:9092"
	ctx = context.Background()
	client, err := ropewalk.Dial(ctx, []string{address}, options...)
	if err != nil {
		log.Fatal(err)
	}
	return ctx, client, func() {
		_ = client.Close() // the server is gone in a moment
		end()
	}
}

// A client is made once, with the settings of the program, and shared.
func ExampleDial() {
	address, stop := exampleServer() // "localhost:9092"
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := ropewalk.Dial(ctx, []string{address},
		ropewalk.WithClientID("billing"),
		ropewalk.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	partitions, err := client.Partitions(ctx, "invoices")
	fmt.Println(partitions, err)
	// Output: 1 <nil>
}

// Errors say what went wrong, whether to try again helps, and whether the record may be there all
// the same.
func ExampleError() {
	ctx, client, stop := exampleClient()
	defer stop()
	_, _, err := client.Admin().GetTopic(ctx, "none")
	if errors.Is(err, ropewalk.ReasonTopicNotFound) {
		fmt.Println("there is no such topic")
	}
	var e *ropewalk.Error
	if errors.As(err, &e) {
		fmt.Println(e.Op, e.Reason, e.Code(), e.Retriable(), e.Fatal(), e.Appended())
	}
	// Output:
	// there is no such topic
	// get topic TOPIC_NOT_FOUND NotFound false false no
}

// A value is changed only if nobody has changed it since it was read.
func ExampleIfVersion() {
	ctx, client, stop := exampleClient()
	defer stop()
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	key := []byte("account-7")
	write := func(version int64, value string) (int64, error) {
		records := []*ropewalk.Record{{Key: key, Value: []byte(value)}}
		ack, err := producer.Append(ctx, "accounts", 0, records, ropewalk.IfVersion(key, version))
		return ack.Offset, err
	}
	version, err := write(ropewalk.NoVersion, "100")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := write(version, "150"); err != nil {
		log.Fatal(err)
	}
	_, err = write(version, "120") // by one who has not seen that it is 150
	var mismatch *ropewalk.VersionMismatch
	fmt.Println(errors.As(err, &mismatch), mismatch.Current)
	// Output: true 1
}

// A partitioner of one's own: what is urgent has a partition for itself.
func ExamplePartitioner() {
	ctx, client, stop := exampleClient()
	defer stop()
	if _, err := client.Admin().CreateTopic(ctx, "alarms", 4); err != nil {
		log.Fatal(err)
	}
	urgent := func(r *ropewalk.Record, partitions int32) int32 {
		if string(r.Key) == "urgent" || partitions == 1 {
			return 0
		}
		return 1 + ropewalk.KeyPartition(r.Key, partitions-1)
	}
	producer, err := client.NewProducer(ropewalk.WithPartitioner(
		func(string) ropewalk.Partitioner { return ropewalk.PartitionerFunc(urgent) }))
	if err != nil {
		log.Fatal(err)
	}
	for _, key := range []string{"urgent", "usual"} {
		ack, err := producer.Send(ctx, &ropewalk.Record{Topic: "alarms", Key: []byte(key)})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(key, ack.Partition == 0)
	}
	// Output:
	// urgent true
	// usual false
}

// Counter counts what was sent. It has the methods of the events that it wants to know, and no
// others.
type Counter struct{ records, bytes atomic.Int64 }

// OnBatchAnswered is called once for each batch.
func (c *Counter) OnBatchAnswered(b ropewalk.BatchAnswered) {
	if b.Err == nil {
		c.records.Add(int64(b.Records))
		c.bytes.Add(int64(b.WireBytes))
	}
}

func ExampleHook() {
	var counter Counter
	ctx, client, stop := exampleClient(ropewalk.WithHooks(&counter))
	defer stop()
	fill(ctx, client, "events", "a", "b", "c")
	fmt.Println(counter.records.Load(), "records,", counter.bytes.Load(), "bytes")
	// Output: 3 records, 15 bytes
}

// How batches are compressed is the producer's to say; a consumer need not know of it.
func ExampleCompression() {
	_, client, stop := exampleClient()
	defer stop()
	_, err := client.NewProducer(
		ropewalk.WithCompression(ropewalk.CompressionZstd), ropewalk.WithCompressionLevel(9))
	fmt.Println(err)
	_, err = client.NewProducer(
		ropewalk.WithCompression(ropewalk.CompressionLZ4), ropewalk.WithCompressionLevel(9))
	fmt.Println(errors.Is(err, ropewalk.ReasonInvalidField))
	// Output:
	// <nil>
	// true
}
