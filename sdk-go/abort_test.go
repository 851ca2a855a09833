package ropewalk_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// What waits can be given up, and surely is not appended; what is under way ends with Abort.
func TestPurgeAndAbort(t *testing.T) {
	server := newServer(t)
	taken := make(chan struct{}, 1)
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		taken <- struct{}{}
		return &testserver.Fault{Hang: true}
	})
	producer := newProducer(t, dial(t, server.Address()))
	type outcome struct {
		value string
		err   error
	}
	outcomes := make(chan outcome, 3)
	send := func(i int) {
		record := &ropewalk.Record{Topic: "t", Value: []byte(fmt.Sprint(i))}
		done := func(r *ropewalk.Record, _ ropewalk.Ack, err error) {
			outcomes <- outcome{string(r.Value), err}
		}
		if err := producer.SendAsync(testContext(t), record, done); err != nil {
			t.Fatal(err)
		}
	}
	send(0)
	<-taken
	send(1)
	send(2)
	if n := producer.Purge(); n != 2 {
		t.Errorf("%d were given up", n)
	}
	for i := 1; i <= 2; i++ {
		var e *ropewalk.Error
		o := <-outcomes
		if !errors.Is(o.err, ropewalk.ReasonPurged) || !errors.As(o.err, &e) ||
			e.Appended() != ropewalk.OutcomeNo || e.Retriable() || o.value != fmt.Sprint(i) {
			t.Errorf("record %s: %v", o.value, o.err)
		}
	}
	if n := producer.Purge(); n != 0 {
		t.Errorf("%d more were given up", n)
	}
	began := time.Now()
	if err := producer.Abort(); err != nil {
		t.Error(err)
	}
	var e *ropewalk.Error
	if o := <-outcomes; !errors.As(o.err, &e) || e.Appended() != ropewalk.OutcomeMaybe {
		t.Errorf("record %s: %v", o.value, o.err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
}
