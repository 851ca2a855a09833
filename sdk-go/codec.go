package ropewalk

import (
	"context"
	"encoding/json"
	"errors"
	"iter"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// A Codec turns values of a type into the bytes of a record's value, and back. [JSON] and [Proto]
// are two; a program can have its own. It must be safe for use by many goroutines.
type Codec[T any] interface {
	// Marshal returns the bytes of a value. They may be empty; nil is refused.
	Marshal(value T) ([]byte, error)
	// Unmarshal returns the value that bytes stand for. It must not keep the bytes.
	Unmarshal(data []byte) (T, error)
}

// JSON is the codec of package encoding/json. It adds nothing to a record: any other client reads
// the same JSON, as `Record::json` of the Rust SDK does.
type JSON[T any] struct{}

// Marshal returns the value's JSON.
func (JSON[T]) Marshal(value T) ([]byte, error) { return json.Marshal(value) }

// Unmarshal returns what the JSON says. What a struct does not have is left out.
func (JSON[T]) Unmarshal(data []byte) (T, error) {
	var value T
	err := json.Unmarshal(data, &value)
	return value, err
}

// Proto is the codec of protobuf messages in their binary form; T is the pointer type that is
// generated for a message, as *orders.Order. It adds nothing to a record: any other client reads
// the same message, as `Record::message` of the Rust SDK does.
type Proto[T proto.Message] struct{}

// Marshal returns the encoded message.
func (Proto[T]) Marshal(message T) ([]byte, error) { return proto.Marshal(message) }

// Unmarshal returns a new message. It fails where T is an interface, as proto.Message itself: it says
// of no message what it is.
func (Proto[T]) Unmarshal(data []byte) (T, error) {
	var none T
	if any(none) == nil {
		return none, errNoType
	}
	message := none.ProtoReflect().New().Interface().(T)
	return message, proto.Unmarshal(data, message)
}

// errNoType is the cause where a Proto does not say of which type messages are.
var errNoType = errors.New("Proto is of an interface: it takes the pointer type of a message")

// Encode sets the value of a record. For what the codec cannot say, as a channel in JSON, or where
// it says nil, as [Proto] does of a nil message, the error has [ReasonInvalidField], and the record
// is left as it was: a record without a value, which can be a tombstone, is not made by accident.
func Encode[T any](codec Codec[T], record *Record, value T) error {
	data, err := codec.Marshal(value)
	if err == nil && data == nil {
		err = errNothing
	}
	if err != nil {
		e := invalidError("encode", "the value cannot be encoded: %v", err)
		e.cause = err
		return e
	}
	record.Value = data
	return nil
}

// errNothing is the cause where a codec makes nothing of a value.
var errNothing = errors.New("it is nil, or nothing to its codec: " +
	"for a tombstone send a Record without a value")

// errNoValue is the cause where there is nothing to decode.
var errNoValue = errors.New("it has no value")

// Decode returns the value of a record that was read. Where it is not of the type, or the record
// has no value, as a tombstone, the error has [ReasonUndecodable], says in which topic and
// partition and at which offset, and wraps the codec's.
func Decode[T any](codec Codec[T], record *Record) (T, error) {
	var value T
	err := errNoValue
	if record.Value != nil {
		value, err = codec.Unmarshal(record.Value)
	}
	if err == nil {
		return value, nil
	}
	var none T
	e := newError("decode", ReasonUndecodable, codes.InvalidArgument, OutcomeNo,
		"the value of the record at %s/%d@%d is not of this type: %v",
		record.Topic, record.Partition, record.Offset, err)
	e.cause = err
	return none, e
}

// A Decoded is a record with its value as what it means.
type Decoded[T any] struct {
	// Record is the record as it was read; nil where an error came without one.
	Record *Record
	// Value is the value; the zero value where it could not be decoded.
	Value T
}

// Values ranges over records with their values decoded:
//
//	for order, err := range ropewalk.Values(consumer.Records(ctx), ropewalk.JSON[Order]{}) {
//
// Errors of the records come as they are. A record that cannot be decoded comes with the error of
// [Decode], and the loop goes on behind it if the program lets it: whether such a record is
// skipped, kept elsewhere or fatal is the program's to say.
func Values[T any](records iter.Seq2[*Record, error], codec Codec[T]) iter.Seq2[Decoded[T], error] {
	return func(yield func(Decoded[T], error) bool) {
		for record, err := range records {
			decoded := Decoded[T]{Record: record}
			if err == nil {
				decoded.Value, err = Decode(codec, record)
			}
			if !yield(decoded, err) {
				return
			}
		}
	}
}

// A TypedProducer sends values of one type to one topic, over a [Producer] that others may use too.
// It needs no Close of its own.
type TypedProducer[T any] struct {
	producer *Producer
	topic    string
	codec    Codec[T]
}

// NewTypedProducer has a producer send values of a type to a topic.
func NewTypedProducer[T any](producer *Producer, topic string, codec Codec[T]) *TypedProducer[T] {
	return &TypedProducer[T]{producer, topic, codec}
}

// Record is the record that the others send, for headers, a time or a partition of one's own. The
// key may be nil. It fails as [Encode] does.
func (p *TypedProducer[T]) Record(key []byte, value T) (*Record, error) {
	record := &Record{Topic: p.topic, Key: key}
	if err := Encode(p.codec, record, value); err != nil {
		return nil, err
	}
	return record, nil
}

// Send appends a value and waits for the answer, as [Producer.Send] does.
func (p *TypedProducer[T]) Send(ctx context.Context, key []byte, value T) (Ack, error) {
	record, err := p.Record(key, value)
	if err != nil {
		return Ack{}, err
	}
	return p.producer.Send(ctx, record)
}

// SendAsync hands a value over and returns, as [Producer.SendAsync] does. done may be nil.
func (p *TypedProducer[T]) SendAsync(
	ctx context.Context, key []byte, value T, done func(*Record, Ack, error),
) error {
	record, err := p.Record(key, value)
	if err != nil {
		return err
	}
	return p.producer.SendAsync(ctx, record, done)
}
