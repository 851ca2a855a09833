package ropewalk

import (
	"context"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// An AppendOption changes one [Producer.Append].
type AppendOption func(*pb.ProduceRequest)

// IfOffset makes an append conditional: it happens only if the first record gets this offset, which
// is the partition's next one. When another append came first, the error has
// [ReasonExpectedOffsetMismatch], with the offset that is next in its metadata as "current".
func IfOffset(offset int64) AppendOption {
	return func(r *pb.ProduceRequest) {
		r.Expected = &pb.ProduceRequest_ExpectedOffset{ExpectedOffset: offset}
	}
}

// Append appends records to one partition, all or none of them and at once: they are a batch of
// their own, which does not wait in line with what is sent. The answer is that of the first record;
// the others follow it. Topic and Partition of the records are not looked at. Only what surely was
// not appended is retried, also with [WithRetryMaybe].
func (p *Producer) Append(
	ctx context.Context, topic string, partition int32, records []*Record, options ...AppendOption,
) (Ack, error) {
	p.mu.Lock()
	closing := p.closing
	p.mu.Unlock()
	if closing {
		return Ack{}, closedError("append", "producer")
	}
	if len(records) == 0 {
		return Ack{}, invalidError("append", "there are no records")
	}
	list, size := make([]*pending, len(records)), 0
	for i, record := range records {
		if err := record.validate(topic); err != nil {
			return Ack{}, err.with("append")
		}
		list[i] = &pending{record: record}
		size += fieldSize(record.encodedSize())
	}
	if size > maxBatchBytes {
		return Ack{}, newError("append", ReasonBatchTooLarge, codes.InvalidArgument, OutcomeNo,
			"the records have %d bytes, more than the %d that are allowed", size, maxBatchBytes)
	}
	request := &pb.ProduceRequest{
		Topic:      topic,
		Partition:  &partition,
		Data:       &pb.ProduceRequest_Records{Records: encodeRecords(list)},
		Durability: pb.Durability(p.config.durability),
	}
	for _, option := range options {
		option(request)
	}
	answer, err := call(ctx, p.client, "append", false,
		func(ctx context.Context) (*pb.ProduceResponse, error) {
			return p.client.producers.Produce(ctx, request)
		})
	if err != nil {
		return Ack{}, err
	}
	at, mismatch := singleAppend(answer, len(records))
	if mismatch != nil {
		return Ack{}, mismatch.with("append")
	}
	return ackFrom(at), nil
}

// singleAppend is the one append of an answer to a request that named its partition.
func singleAppend(answer *pb.ProduceResponse, records int) (*pb.PartitionAppend, *Error) {
	appends := answer.GetAppends()
	if len(appends) != 1 || int(appends[0].GetRecordCount()) != records {
		return nil, newError("produce", ReasonInternal, codes.Internal, OutcomeMaybe,
			"the broker's answer does not fit the batch")
	}
	return appends[0], nil
}

func ackFrom(at *pb.PartitionAppend) Ack {
	return Ack{
		Partition:   at.GetPartition(),
		Offset:      at.GetBaseOffset(),
		AppendTime:  at.GetAppendTime().AsTime(),
		Achieved:    Durability(at.GetAchieved()),
		LeaderEpoch: at.GetLeaderEpoch(),
	}
}
