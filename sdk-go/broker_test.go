package ropewalk_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// A broker that is stopped in order and started again costs a producer nothing but time: no error, no
// record lost, doubled or out of order; and a consumer reads on over it.
func TestBrokerRestarts(t *testing.T) {
	broker := ropewalktest.Start(t)
	client := dial(t, broker.Address)
	ctx := testContext(t)
	consumer := newConsumer(t, client, ropewalk.WithTopics("restart"))
	producer := newProducer(t, client)
	stop := make(chan struct{})
	sent := make(chan int, 1)
	go func() {
		n := 0
		defer func() { sent <- n }()
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Microsecond):
			}
			err := producer.SendAsync(ctx, &ropewalk.Record{Topic: "restart", Value: fmt.Append(nil, n)},
				func(r *ropewalk.Record, _ ropewalk.Ack, err error) {
					if err != nil {
						t.Errorf("record %s: %v", r.Value, err)
					}
				})
			if err != nil {
				t.Error(err)
				return
			}
			n++
		}
	}()
	for range 2 {
		time.Sleep(300 * time.Millisecond)
		broker.Stop()
		broker.Run()
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	count := <-sent
	if err := producer.Close(); err != nil {
		t.Error(err)
	}
	for i := range count {
		record, err := consumer.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint(i); record.Offset != int64(i) || string(record.Value) != want {
			t.Fatalf("offset %d holds %s, want %s at offset %d", record.Offset, record.Value, want, i)
		}
	}
}

// Every record that was acked before a crash is at the offset of its ack after it.
func TestAcksSurviveACrash(t *testing.T) {
	broker := ropewalktest.Start(t)
	client := dial(t, broker.Address)
	ctx := testContext(t)
	producer := newProducer(t, client, ropewalk.WithRetryMaybe())
	var acked sync.Map
	var next atomic.Int64
	running, stop := context.WithCancel(ctx)
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for running.Err() == nil {
				value := fmt.Sprint(next.Add(1))
				ack, err := producer.Send(ctx, &ropewalk.Record{Topic: "crash", Value: []byte(value)})
				if err != nil {
					t.Errorf("record %s: %v", value, err)
					return
				}
				if other, twice := acked.LoadOrStore(ack.Offset, value); twice {
					t.Errorf("offset %d was given to %s and to %v", ack.Offset, value, other)
				}
			}
		})
	}
	for range 3 {
		time.Sleep(200 * time.Millisecond)
		broker.Kill()
		broker.Run()
	}
	time.Sleep(100 * time.Millisecond)
	stop()
	senders.Wait()
	consumer := newConsumer(t, client, ropewalk.WithTopics("crash"), ropewalk.WithStop(ropewalk.StopCaughtUp()))
	found := 0
	for record, err := range consumer.Records(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		want, ok := acked.Load(record.Offset)
		if ok && want != string(record.Value) {
			t.Errorf("offset %d holds %s, its ack was for %v", record.Offset, record.Value, want)
		}
		if ok {
			found++
		}
	}
	if want := int(next.Load()); found != want {
		t.Errorf("%d of %d acked records were found", found, want)
	}
}
