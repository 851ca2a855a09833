package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func init() {
	modes["sarama-sync"] = mode{"sarama's SyncProducer, from 100 goroutines", facadeSync(callers)}
	modes["sarama-single"] = mode{"sarama's SyncProducer, from one goroutine", facadeSync(1)}
	modes["sarama-async"] = mode{"sarama's AsyncProducer, with its successes", facadeAsync}
}

func (r *run) saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	return config
}

// facadeSync sends from so many goroutines, each of which waits for its answer.
func facadeSync(goroutines int) func(context.Context, *run) (int64, time.Duration, error) {
	return func(_ context.Context, r *run) (int64, time.Duration, error) {
		producer, err := sarama.NewSyncProducer([]string{r.broker}, r.saramaConfig())
		if err != nil {
			return 0, 0, err
		}
		value := sarama.ByteEncoder(noise(r.size))
		err = r.inTurn(goroutines, func() error {
			_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: r.topic, Value: value})
			return err
		})
		if err := errors.Join(err, producer.Close()); err != nil {
			return 0, 0, err
		}
		return r.gate.result()
	}
}

// facadeAsync sends from one goroutine, and takes the answers in another.
func facadeAsync(_ context.Context, r *run) (int64, time.Duration, error) {
	producer, err := sarama.NewAsyncProducer([]string{r.broker}, r.saramaConfig())
	if err != nil {
		return 0, 0, err
	}
	var all sync.WaitGroup
	var failed error
	all.Go(func() {
		for message := range producer.Successes() {
			now := time.Now()
			if sent, ok := message.Metadata.(time.Time); ok {
				r.answers.add(now.Sub(sent))
			}
			r.gate.count(now)
		}
	})
	all.Go(func() {
		for e := range producer.Errors() {
			failed = e
		}
	})
	value := sarama.ByteEncoder(noise(r.size))
	for i := 0; ; i++ {
		now := time.Now()
		if !r.gate.take(now, r.size) {
			break
		}
		message := &sarama.ProducerMessage{Topic: r.topic, Value: value}
		if i%timedEvery == 0 {
			message.Metadata = now
		}
		producer.Input() <- message
	}
	producer.AsyncClose()
	all.Wait()
	if failed != nil {
		return 0, 0, failed
	}
	return r.gate.result()
}
