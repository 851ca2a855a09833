package ropewalk_test

import (
	"errors"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

func TestAppendIsConditional(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, topic := testContext(t), newName("append")
		producer := newProducer(t, client)
		two := []*ropewalk.Record{{Value: []byte("0")}, {Value: []byte("1")}}
		ack, err := producer.Append(ctx, topic, 0, two, ropewalk.IfOffset(0))
		if err != nil || ack.Offset != 0 || ack.Achieved != ropewalk.DurabilityQuorum {
			t.Fatalf("got %+v, %v", ack, err)
		}
		_, err = producer.Append(ctx, topic, 0, two, ropewalk.IfOffset(1))
		var e *ropewalk.Error
		if !errors.Is(err, ropewalk.ReasonExpectedOffsetMismatch) || !errors.As(err, &e) ||
			e.Metadata["current"] != "2" || e.Appended() != ropewalk.OutcomeNo {
			t.Errorf("a mismatch gave %v", err)
		}
		if ack, err := producer.Append(ctx, topic, 0, two); err != nil || ack.Offset != 2 {
			t.Errorf("without a condition: %+v, %v", ack, err)
		}
		if _, err := producer.Append(ctx, topic, 0, nil); !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("no records: %v", err)
		}
		expect(t, newConsumer(t, client, ropewalk.WithTopics(topic)), "0", "1", "0", "1")
	})
}

// Of appends that expect the same version of a key, one happens; the others learn which it has.
func TestAppendOnTheVersionOfAKey(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, topic := testContext(t), newName("versions")
		producer := newProducer(t, client)
		key := []byte("account")
		put := func(version int64) (int64, error) {
			records := []*ropewalk.Record{{Key: key, Value: []byte("v")}}
			ack, err := producer.Append(ctx, topic, 0, records, ropewalk.IfVersion(key, version))
			return ack.Offset, err
		}
		expectMismatch := func(err error, current int64) {
			t.Helper()
			var e *ropewalk.Error
			var mismatch *ropewalk.VersionMismatch
			if !errors.Is(err, ropewalk.ReasonExpectedVersionMismatch) || !errors.As(err, &e) ||
				e.Appended() != ropewalk.OutcomeNo || !errors.As(err, &mismatch) || mismatch.Current != current {
				t.Errorf("got %v, want the version %d", err, current)
			}
		}
		if at, err := put(ropewalk.NoVersion); err != nil || at != 0 {
			t.Fatalf("got %d, %v", at, err)
		}
		_, err := put(ropewalk.NoVersion)
		expectMismatch(err, 0)
		if _, err := producer.Append(ctx, topic, 0, []*ropewalk.Record{{Key: []byte("other")}}); err != nil {
			t.Fatal(err)
		}
		if at, err := put(0); err != nil || at != 2 {
			t.Errorf("after another key: %d, %v", at, err)
		}
		_, err = put(0)
		expectMismatch(err, 2)
		key = []byte("nobody")
		_, err = put(7)
		expectMismatch(err, ropewalk.NoVersion)
	})
}
