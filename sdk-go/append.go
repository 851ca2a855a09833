package ropewalk

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// An AppendOption changes one [Producer.Append].
type AppendOption func(*appendConfig)

type appendConfig struct{ request *pb.ProduceRequest }

// IfOffset makes an append conditional: it happens only if the first record gets this offset, which
// is the partition's next one. When another append came first, the error has
// [ReasonExpectedOffsetMismatch], with the offset that is next in its metadata as "current".
func IfOffset(offset int64) AppendOption {
	return func(c *appendConfig) {
		c.request.Expected = &pb.ProduceRequest_ExpectedOffset{ExpectedOffset: offset}
	}
}

// NoVersion is the version of a key of which the partition has no record.
const NoVersion int64 = -1

// IfVersion makes an append conditional: it happens only if the key has this version in the partition,
// which is the offset of the latest record with it, or [NoVersion] where there is none. So nobody
// overwrites what another one has written since it was read. When the key has another version, the
// error has [ReasonExpectedVersionMismatch] and wraps a *[VersionMismatch]. The condition is about this
// key, whichever keys the records have.
func IfVersion(key []byte, version int64) AppendOption {
	return func(c *appendConfig) {
		expected := &pb.ExpectedVersion{KeyForm: &pb.ExpectedVersion_Key{Key: key}}
		if version != NoVersion {
			expected.Version = &version
		}
		c.request.Expected = &pb.ProduceRequest_ExpectedVersion{ExpectedVersion: expected}
	}
}

// A VersionMismatch tells the version of a key that another append has changed. Read what there is with
// the key, decide again, and append with its version.
type VersionMismatch struct {
	// Current is the version that the key has, or NoVersion.
	Current int64
}

// Error says which version the key has.
func (m *VersionMismatch) Error() string {
	if m.Current == NoVersion {
		return "the key has no record"
	}
	return fmt.Sprintf("the version of the key is %d", m.Current)
}

func versionMismatch(metadata map[string]string) *VersionMismatch {
	current, err := strconv.ParseInt(metadata["current"], 10, 64)
	if err != nil {
		current = NoVersion // there is none
	}
	return &VersionMismatch{Current: current}
}

// Append appends records to one partition, all or none of them and at once: they are a batch of
// their own, which does not wait in line with what is sent. The answer is that of the first record;
// the others follow it. Topic and Partition of the records are not looked at. A try that may have
// appended them is made again too: they are appended once, and a condition that they have changed
// themselves does not fail. With [WithoutIdempotence], or without [DurabilityQuorum], only what surely
// was not appended is retried, also with [WithRetryMaybe].
func (p *Producer) Append(
	ctx context.Context, topic string, partition int32, records []*Record, options ...AppendOption,
) (Ack, error) {
	if len(p.config.interceptors) == 0 {
		return p.append(ctx, topic, partition, records, options)
	}
	sent, outcomes := make([]*Record, len(records)), make([]func(Ack, error), len(records))
	for i, record := range records {
		placed := *record
		placed.Topic, placed.Partition = topic, partition
		sent[i], outcomes[i] = p.onSend(ctx, &placed)
	}
	ack, err := p.append(ctx, topic, partition, sent, options)
	for i, tell := range outcomes {
		of := ack
		if err == nil {
			of.Offset += int64(i)
		}
		if tell != nil {
			tell(of, err)
		}
	}
	return ack, err
}

func (p *Producer) append(
	ctx context.Context, topic string, partition int32, records []*Record, options []AppendOption,
) (ack Ack, failure error) {
	to := TopicPartition{topic, partition}
	request, list, size, e := p.appendRequest(ctx, to, records, options)
	if e != nil {
		e = e.with("append")
		p.client.hooks.recordsFailed(to, len(records), e)
		return Ack{}, e
	}
	number := request.GetSequence()
	batch := &encodedBatch{data: encodeRecords(list), compression: CompressionNone}
	defer batch.free()
	told := p.client.hooks.append(to, len(records), size)
	var by peer.Peer
	defer func() { told.answered(ack, failure, addressAt(&by)) }()
	maybe := false
	answer, err := call(ctx, p.client, "append", number != nil,
		func(ctx context.Context) (*pb.ProduceResponse, error) {
			told.sent()
			answer, err := p.client.appendBatch(ctx, request, batch, &by)
			maybe = maybe || err != nil && fromRPC("append", err).outcome == OutcomeMaybe
			return answer, err
		})
	p.giveBack(number)
	if e := (*Error)(nil); maybe && errors.As(err, &e) && e.outcome == OutcomeNo {
		c := *e
		c.outcome = OutcomeMaybe // an earlier try may have appended them
		return Ack{}, &c
	}
	if err != nil {
		return Ack{}, err
	}
	at, mismatch := singleAppend(answer, len(records))
	if mismatch != nil {
		return Ack{}, mismatch.with("append")
	}
	return ackFrom(at, addressAt(&by)), nil
}

// appendRequest is the request to append records, but for them: they are returned with their size.
// Its number, if it has one, is to be given back.
func (p *Producer) appendRequest(
	ctx context.Context, to TopicPartition, records []*Record, options []AppendOption,
) (*pb.ProduceRequest, []*pending, int, *Error) {
	p.mu.Lock()
	closing := p.closing
	p.mu.Unlock()
	if closing {
		return nil, nil, 0, closedError("append", "producer")
	}
	if len(records) == 0 {
		return nil, nil, 0, invalidError("append", "there are no records")
	}
	list, size := make([]*pending, len(records)), 0
	for i, record := range records {
		if err := record.validate(to.Topic); err != nil {
			return nil, nil, 0, err
		}
		list[i] = &pending{record: record, size: fieldSize(record.encodedSize())}
		size += list[i].size
	}
	if size > maxBatchBytes {
		return nil, nil, 0, newError("append", ReasonBatchTooLarge, codes.InvalidArgument, OutcomeNo,
			"the records have %d bytes, more than the %d that are allowed", size, maxBatchBytes)
	}
	config := appendConfig{request: &pb.ProduceRequest{
		Topic:      to.Topic,
		Partition:  &to.Partition,
		Durability: pb.Durability(p.config.durability),
	}}
	for _, option := range options {
		option(&config)
	}
	number, e := p.lease(ctx)
	if e != nil {
		return nil, nil, 0, e
	}
	config.request.Sequence = number
	return config.request, list, size, nil
}

// appendBatch makes one call of Produce, and notes who answers it.
func (c *Client) appendBatch(
	ctx context.Context, request *pb.ProduceRequest, batch *encodedBatch, by *peer.Peer,
) (*pb.ProduceResponse, error) {
	message, e := messageOf(request, batch, 0)
	if e != nil {
		return nil, e
	}
	answer := &pb.ProduceResponse{}
	method := pb.ProducerService_Produce_FullMethodName
	return answer, c.conn.Invoke(ctx, method, message, answer, asProduceMessages(), grpc.Peer(by))
}

// lease gives an append its number, if the producer is idempotent: 0 in an epoch of its own, so that
// nothing has to be counted for each partition. The id is no other append's until it is given back, in
// the next epoch: what comes late of this one is refused once that has come.
func (p *Producer) lease(ctx context.Context) (*pb.ProducerSequence, *Error) {
	if !p.config.numbered() {
		return nil, nil
	}
	p.mu.Lock()
	var free *identity
	if n := len(p.free); n > 0 {
		free, p.free = p.free[n-1], p.free[:n-1]
	}
	p.mu.Unlock()
	if free == nil {
		given, err := p.identify(ctx, "", time.Now().Add(p.client.config.requestTimeout))
		if err != nil {
			return nil, err
		}
		free = given
	}
	return &pb.ProducerSequence{ProducerId: free.id, Epoch: free.epoch}, nil
}

func (p *Producer) giveBack(number *pb.ProducerSequence) {
	if next := number.GetEpoch() + 1; number != nil && next != 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free = append(p.free, &identity{id: number.GetProducerId(), epoch: next})
	}
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

func ackFrom(at *pb.PartitionAppend, address string) Ack {
	return Ack{
		Partition:   at.GetPartition(),
		Offset:      at.GetBaseOffset(),
		AppendTime:  at.GetAppendTime().AsTime(),
		Achieved:    Durability(at.GetAchieved()),
		LeaderEpoch: at.GetLeaderEpoch(),
		Address:     address,
	}
}
