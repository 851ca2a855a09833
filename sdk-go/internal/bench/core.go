package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// timedEvery is of how many records one is timed, where there are many: a closure for each would be
// no part of what is measured.
const timedEvery = 64

func isReason(err error, reason ropewalk.Reason) bool { return errors.Is(err, reason) }

// produceAsync sends from one goroutine as fast as the producer takes records.
func produceAsync(ctx context.Context, r *run) (int64, time.Duration, error) {
	client, err := r.dial(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	producer, err := client.NewProducer()
	if err != nil {
		return 0, 0, err
	}
	var failed atomic.Pointer[error]
	answered := func(_ *ropewalk.Record, _ ropewalk.Ack, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
			return
		}
		r.gate.count(time.Now())
	}
	value := noise(r.size)
	for i := 0; failed.Load() == nil; i++ {
		now := time.Now()
		if !r.gate.take(now, r.size) {
			break
		}
		done := answered
		if i%timedEvery == 0 {
			done = func(record *ropewalk.Record, ack ropewalk.Ack, err error) {
				r.answers.add(time.Since(now))
				answered(record, ack, err)
			}
		}
		record := &ropewalk.Record{Topic: r.topic, Value: value}
		if err := producer.SendAsync(ctx, record, done); err != nil {
			return 0, 0, err
		}
	}
	if err := errors.Join(producer.Flush(ctx), producer.Close()); err != nil {
		return 0, 0, err
	}
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	return r.gate.result()
}

// atRandom places records as package sarama does by default those without a key: each for itself,
// so that the batches of a hundred that wait are small.
var atRandom = ropewalk.WithPartitioner(func(string) ropewalk.Partitioner {
	return ropewalk.PartitionerFunc(func(_ *ropewalk.Record, partitions int32) int32 {
		return rand.Int32N(partitions)
	})
})

// produceSync sends from so many goroutines, each of which waits for its answer before it sends
// again.
func produceSync(
	goroutines int, options ...ropewalk.ProducerOption,
) func(context.Context, *run) (int64, time.Duration, error) {
	return func(ctx context.Context, r *run) (int64, time.Duration, error) {
		client, err := r.dial(ctx)
		if err != nil {
			return 0, 0, err
		}
		defer client.Close()
		producer, err := client.NewProducer(options...)
		if err != nil {
			return 0, 0, err
		}
		value := noise(r.size)
		err = r.inTurn(goroutines, func() error {
			_, err := producer.Send(ctx, &ropewalk.Record{Topic: r.topic, Value: value})
			return err
		})
		if err := errors.Join(err, producer.Close()); err != nil {
			return 0, 0, err
		}
		return r.gate.result()
	}
}

// inTurn has so many goroutines call send, each again and again, until the gate closes.
func (r *run) inTurn(goroutines int, send func() error) error {
	errs := make([]error, goroutines)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			for now := time.Now(); r.gate.take(now, r.size); {
				if errs[i] = send(); errs[i] != nil {
					return
				}
				answered := time.Now()
				if now.After(r.gate.opens) {
					r.answers.add(answered.Sub(now))
				}
				r.gate.count(answered)
				now = answered
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// consumed reads a topic to its end: from the call on, with what it takes to connect.
func consumed(ctx context.Context, r *run, read func(*ropewalk.Client) (int64, error)) (
	int64, time.Duration, error,
) {
	began := time.Now()
	client, err := r.dial(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	records, err := read(client)
	took := time.Since(began)
	if err == nil && records == 0 {
		err = fmt.Errorf("there is nothing in topic %s", r.topic)
	}
	return records, took, err
}

func consumePoll(ctx context.Context, r *run) (int64, time.Duration, error) {
	return consumed(ctx, r, func(client *ropewalk.Client) (records int64, err error) {
		consumer, err := client.NewConsumer(ctx, ropewalk.WithTopics(r.topic),
			ropewalk.WithStop(ropewalk.StopCaughtUp()))
		for err == nil {
			var some []ropewalk.Record
			some, err = consumer.Poll(ctx)
			records += int64(len(some))
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return records, err
	})
}

func consumeNext(ctx context.Context, r *run) (int64, time.Duration, error) {
	return consumed(ctx, r, func(client *ropewalk.Client) (records int64, err error) {
		consumer, err := client.NewConsumer(ctx, ropewalk.WithTopics(r.topic),
			ropewalk.WithStop(ropewalk.StopCaughtUp()))
		for err == nil {
			if _, err = consumer.Next(ctx); err == nil {
				records++
			}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return records, err
	})
}

// consumeGroup reads until it is at the end of every partition.
func consumeGroup(ctx context.Context, r *run) (int64, time.Duration, error) {
	return consumed(ctx, r, func(client *ropewalk.Client) (records int64, err error) {
		_, partitions, err := client.Admin().GetTopic(ctx, r.topic)
		if err != nil {
			return 0, err
		}
		total := int64(0)
		for _, p := range partitions {
			total += p.HighWatermark
		}
		member, err := client.JoinGroup(ctx, "bench-"+r.topic, ropewalk.GroupTopics(r.topic))
		if err != nil {
			return 0, err
		}
		for err == nil && records < total {
			var some []ropewalk.Record
			some, err = member.Poll(ctx)
			records += int64(len(some))
		}
		return records, errors.Join(err, member.Close())
	})
}
