package ropewalk_test

import (
	"encoding/json"
	"errors"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

type order struct {
	Customer string `json:"customer"`
	Total    int    `json:"total"`
}

// A value is the same after it has been through a broker, as JSON that anybody reads and as a
// message.
func TestValuesAreWhatTheyWere(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, producer := testContext(t), newProducer(t, client)
		topic := newName("typed")
		orders := ropewalk.NewTypedProducer(producer, topic, ropewalk.JSON[order]{})
		want := order{"seven", 12}
		if _, err := orders.Send(ctx, []byte("k"), want); err != nil {
			t.Fatal(err)
		}
		times := ropewalk.NewTypedProducer(producer, topic, ropewalk.Proto[*timestamppb.Timestamp]{})
		at := timestamppb.New(time.Unix(5, 6))
		if err := times.SendAsync(ctx, nil, at, nil); err != nil {
			t.Fatal(err)
		}
		if err := producer.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		consumer := newConsumer(t, client, ropewalk.WithTopics(topic))
		first, err := consumer.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if string(first.Value) != `{"customer":"seven","total":12}` || len(first.Headers) != 0 ||
			string(first.Key) != "k" {
			t.Errorf("the record is %+v", first)
		}
		if got, err := ropewalk.Decode(ropewalk.JSON[order]{}, first); err != nil || got != want {
			t.Errorf("%v, %v", got, err)
		}
		second, err := consumer.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ropewalk.Decode(ropewalk.Proto[*timestamppb.Timestamp]{}, second)
		if err != nil || !proto.Equal(got, at) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// A value of another type names its record, and says why.
func TestAValueOfAnotherTypeNamesItsRecord(t *testing.T) {
	read := func(key, value []byte) *ropewalk.Record {
		return &ropewalk.Record{Topic: "orders", Partition: 3, Offset: 7, Key: key, Value: value}
	}
	half := read(nil, []byte(`{"customer":"x","total":"many"}`))
	value, err := ropewalk.Decode(ropewalk.JSON[order]{}, half)
	var own *ropewalk.Error
	var cause *json.UnmarshalTypeError
	if !errors.Is(err, ropewalk.ReasonUndecodable) ||
		!errors.As(err, &own) || !errors.As(err, &cause) ||
		!strings.Contains(own.Message, "orders/3@7") || own.Retriable() || own.Fatal() {
		t.Errorf("%v", err)
	}
	if value != (order{}) {
		t.Errorf("half of a value came: %+v", value)
	}
	tombstone := read([]byte("k"), nil)
	_, err = ropewalk.Decode(ropewalk.JSON[order]{}, tombstone)
	if err == nil || !strings.Contains(err.Error(), "it has no value") {
		t.Errorf("a tombstone: %v", err)
	}
	stamp, err := ropewalk.Decode(ropewalk.Proto[*timestamppb.Timestamp]{}, read(nil, []byte{0x7f}))
	if !errors.Is(err, ropewalk.ReasonUndecodable) || stamp != nil {
		t.Errorf("no message: %v, %v", stamp, err)
	}
	_, err = ropewalk.Decode(ropewalk.Proto[proto.Message]{}, read(nil, []byte{}))
	if !errors.Is(err, ropewalk.ReasonUndecodable) || !strings.Contains(err.Error(), "interface") {
		t.Errorf("a message of no type: %v", err)
	}
	empty, err := ropewalk.Decode(ropewalk.Proto[*timestamppb.Timestamp]{}, read(nil, []byte{}))
	if err != nil || empty == nil {
		t.Errorf("a message whose fields are all at their defaults has no bytes: %v, %v", empty, err)
	}
}

// What cannot be encoded is not sent, and the record stays as it was.
func TestWhatHasNoJSONIsRefused(t *testing.T) {
	record := &ropewalk.Record{Value: []byte("before")}
	err := ropewalk.Encode(ropewalk.JSON[chan int]{}, record, nil)
	if !errors.Is(err, ropewalk.ReasonInvalidField) || string(record.Value) != "before" {
		t.Errorf("%v, %s", err, record.Value)
	}
	// Nothing becomes a tombstone unasked, and what is empty is no nothing.
	message := ropewalk.Proto[*timestamppb.Timestamp]{}
	err = ropewalk.Encode(message, record, nil)
	if !errors.Is(err, ropewalk.ReasonInvalidField) || string(record.Value) != "before" {
		t.Errorf("%v, %s", err, record.Value)
	}
	empty := &ropewalk.Record{}
	if err := ropewalk.Encode(message, empty, &timestamppb.Timestamp{}); err != nil || empty.Value == nil {
		t.Errorf("%v, %v", err, empty.Value)
	}
	producer := newProducer(t, dial(t, newServer(t).Address()))
	broken := ropewalk.NewTypedProducer(producer, "t", ropewalk.JSON[func()]{})
	made, err := broken.Record(nil, nil)
	if !errors.Is(err, ropewalk.ReasonInvalidField) || made != nil {
		t.Errorf("made: %v, %v", made, err)
	}
	if _, err := broken.Send(testContext(t), nil, nil); !errors.Is(err, ropewalk.ReasonInvalidField) {
		t.Errorf("sent: %v", err)
	}
	err = broken.SendAsync(testContext(t), nil, nil, func(*ropewalk.Record, ropewalk.Ack, error) {
		t.Error("it has an outcome")
	})
	if !errors.Is(err, ropewalk.ReasonInvalidField) {
		t.Errorf("sent: %v", err)
	}
}

// A loop gets what it can read, meets what it cannot with its record, and goes on or ends as it
// likes.
func TestValuesGoOnBehindWhatCannotBeDecoded(t *testing.T) {
	gap := &ropewalk.Gap{From: 1, To: 2}
	var records iter.Seq2[*ropewalk.Record, error] = func(yield func(*ropewalk.Record, error) bool) {
		_ = yield(&ropewalk.Record{Offset: 0, Value: []byte("7")}, nil) &&
			yield(nil, gap) &&
			yield(&ropewalk.Record{Offset: 2, Value: []byte("seven")}, nil) &&
			yield(&ropewalk.Record{Offset: 3, Value: []byte("8")}, nil)
	}
	var got []any
	for n, err := range ropewalk.Values(records, ropewalk.JSON[int]{}) {
		switch {
		case errors.Is(err, ropewalk.ReasonUndecodable):
			got = append(got, "undecodable", n.Record.Offset)
		case err != nil:
			got = append(got, err)
		default:
			got = append(got, n.Value)
		}
	}
	if want := []any{7, gap, "undecodable", int64(2), 8}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	for range ropewalk.Values(records, ropewalk.JSON[int]{}) {
		break
	}
}
