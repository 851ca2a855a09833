package ropewalk

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// The fields of a ProduceStreamRequest, and those of a ProduceRequest that are the records.
const (
	streamCorrelation = 1<<3 | varintField
	streamRequest     = 2<<3 | bytesField

	requestRecords    = 3<<3 | bytesField
	requestCompressed = 4<<3 | bytesField
)

// An encodedBatch is records in the form that goes over the wire.
type encodedBatch struct {
	// data is a RecordSet, or the compressed form of one.
	data mem.Buffer
	// compression is that of data. What follows is told only of what is compressed.
	compression Compression
	count       int
	// shortest is the shortest time to live of the records, 0 where none has any.
	shortest time.Duration
}

// free gives the buffer back, once nobody sends it any more.
func (e *encodedBatch) free() {
	if e != nil {
		e.data.Free()
	}
}

// A produceMessage is a request to append a batch, as gRPC sends it: the batch, which is not
// copied, is the last field of the request. It may be sent once.
type produceMessage struct {
	head []byte
	data mem.Buffer
}

// messageOf completes a request with a batch: as a request of its own, or as one of a stream where
// it has a correlation, which counts from 1.
func messageOf(
	request *pb.ProduceRequest, batch *encodedBatch, correlation uint64,
) (*produceMessage, *Error) {
	tag := requestRecords
	if batch.compression != CompressionNone {
		tag = requestCompressed
		request.Compression = pb.Compression(batch.compression)
		request.RecordCount = int32(batch.count)
		if batch.shortest > 0 {
			request.ShortestTtl = durationpb.New(batch.shortest)
		}
	}
	size, data := proto.Size(request), batch.data.Len()
	const most = 3 * (1 + 10) // three tags, with numbers of ten bytes at most
	head := make([]byte, 0, most+size)
	if correlation > 0 {
		head = protowire.AppendVarint(append(head, byte(streamCorrelation)), correlation)
		head = appendTag(head, streamRequest, size+fieldSize(data))
	}
	head, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(head, request)
	if err != nil {
		return nil, invalidError("produce", "%v", err)
	}
	batch.data.Ref()
	return &produceMessage{appendTag(head, tag, data), batch.data}, nil
}

// asProduceMessages has a call take *produceMessage for its requests.
func asProduceMessages() grpc.CallOption { return grpc.ForceCodecV2(produceCodec{protoCodec}) }

// produceCodec is gRPC's own for protobuf, but for a *produceMessage.
type produceCodec struct{ encoding.CodecV2 }

// Marshal gives gRPC a message, and its part in the batch's buffer with it.
func (c produceCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*produceMessage)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	return mem.BufferSlice{mem.SliceBuffer(m.head), m.data}, nil
}
