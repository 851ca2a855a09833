package ropewalk

import (
	"bytes"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers protoCodec
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A streamEvent is what a Subscribe stream brings: a batch, or anything else.
type streamEvent struct {
	batch *receivedBatch
	// other is nil when it is a batch.
	other *pb.SubscribeResponse
	// damage is why a batch cannot be taken.
	damage *Error
}

// eventBatch is the batch among the fields of a SubscribeResponse. The numbers below eventsEnd are
// events, of which there is one.
const (
	eventBatch = 2<<3 | bytesField
	eventsEnd  = 8
)

// receiveEvent waits for the next event of a stream that was opened with asEvents.
func receiveEvent(rpc grpc.ClientStream) (*streamEvent, error) {
	event := &streamEvent{}
	if err := rpc.RecvMsg(event); err != nil {
		return nil, err
	}
	if event.damage != nil {
		return nil, event.damage
	}
	return event, nil
}

// asEvents has a Subscribe call take a *streamEvent from its stream.
func asEvents() grpc.CallOption { return grpc.ForceCodecV2(eventCodec{protoCodec}) }

var (
	protoCodec = encoding.GetCodecV2("proto")

	errEvent = errors.New("an event of a stream cannot be parsed")
)

// eventCodec is gRPC's own for protobuf, but for events.
type eventCodec struct{ encoding.CodecV2 }

// Unmarshal decodes an event, or any message.
func (c eventCodec) Unmarshal(data mem.BufferSlice, v any) error {
	event, ok := v.(*streamEvent)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	// gRPC uses its buffers again: this is a copy, which belongs to the batch and then to its
	// records. Unlike that of Materialize, its memory is not zeroed first.
	pieces := make([][]byte, len(data))
	for i, buffer := range data {
		pieces[i] = buffer.ReadOnlyData()
	}
	return event.parse(bytes.Join(pieces, nil))
}

// parse takes the one event of an encoded SubscribeResponse. Where protobuf would take the last of
// several, or put them together, it is an error.
func (e *streamEvent) parse(encoded []byte) error {
	var batch []byte
	events := 0
	for rest := encoded; len(rest) > 0; {
		f, ok := nextField(&rest)
		if !ok {
			return errEvent
		}
		if f.tag == eventBatch {
			batch = f.bytes
		}
		if num, kind := protowire.DecodeTag(f.tag); num < eventsEnd && kind == protowire.BytesType {
			events++
		}
	}
	switch {
	case batch == nil:
		e.other = &pb.SubscribeResponse{}
		return proto.Unmarshal(encoded, e.other)
	case events > 1:
		return errEvent
	}
	e.batch = &receivedBatch{}
	e.damage = e.batch.parse(batch)
	return nil
}
