package ropewalk_test

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/brokertest"
)

// A producer rides over the death of the leader, which is also the only broker that it was told of.
// What may have been appended is sent again where that is wanted, and otherwise told.
func TestLeaderIsKilledUnderAProducer(t *testing.T) {
	t.Run("at least once", func(t *testing.T) {
		outcomes, found := numbersOverAKill(t, ropewalk.WithRetryMaybe())
		next := 0
		for _, number := range found {
			if number > next {
				t.Fatalf("%d comes before %d", number, next)
			}
			if number == next {
				next++
			}
		}
		for number, err := range outcomes {
			if err != nil {
				t.Fatalf("record %d: %v", number, err)
			}
		}
		if next != len(outcomes) {
			t.Fatalf("%d records of %d are there", next, len(outcomes))
		}
	})
	t.Run("at most once", func(t *testing.T) {
		outcomes, found := numbersOverAKill(t)
		there := map[int]bool{}
		for i, number := range found {
			if i > 0 && number <= found[i-1] {
				t.Fatalf("%d comes after %d", number, found[i-1])
			}
			there[number] = true
		}
		for number, err := range outcomes {
			var e *ropewalk.Error
			switch {
			case err == nil && !there[number]:
				t.Fatalf("record %d is lost", number)
			case err != nil && (!errors.As(err, &e) || e.Appended() != ropewalk.OutcomeMaybe):
				t.Fatalf("record %d: %v", number, err)
			}
		}
		if outcomes[len(outcomes)-1] != nil {
			t.Fatal("the last record failed")
		}
	})
}

func numbersOverAKill(t *testing.T, options ...ropewalk.ProducerOption) ([]error, []int) {
	const count = 2000
	brokers := brokertest.StartCluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	survey := dial(t, brokers[0].Address)
	if _, err := survey.Admin().CreateTopic(ctx, "t", 1); err != nil {
		t.Fatal(err)
	}
	_, partitions, err := survey.Admin().GetTopic(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	leader := int(partitions[0].Leader) - 1
	producer, err := dial(t, brokers[leader].Address).NewProducer(
		append(options, ropewalk.WithBatchBytes(512))...)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := make([]error, count)
	var answered sync.WaitGroup
	for number := range count {
		if number == count/2 {
			brokers[leader].Kill()
		}
		answered.Add(1)
		record := &ropewalk.Record{Topic: "t", Value: []byte(strconv.Itoa(number))}
		err := producer.SendAsync(ctx, record, func(_ *ropewalk.Record, _ ropewalk.Ack, err error) {
			outcomes[number] = err
			answered.Done()
		})
		if err != nil {
			t.Fatal(err)
		}
		if number%20 == 0 {
			time.Sleep(time.Millisecond) // so that the kill falls among batches that are on their way
		}
	}
	answered.Wait()

	consumer, err := dial(t, brokers[(leader+1)%3].Address).NewConsumer(ctx,
		ropewalk.WithTopics("t"), ropewalk.WithStop(ropewalk.StopCaughtUp()))
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for {
		record, err := consumer.Next(ctx)
		if errors.Is(err, io.EOF) {
			return outcomes, found
		}
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(string(record.Value))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, number)
	}
}
