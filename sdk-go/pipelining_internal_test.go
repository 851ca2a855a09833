package ropewalk

import (
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// A faultyBroker keeps what the contract says of numbered batches, and has faults: it refuses
// batches, appends some of these all the same, loses answers and breaks streams. It never takes a
// record that is poison.
type faultyBroker struct {
	t      *testing.T
	random *rand.Rand
	// faults is how many of a thousand batches meet one.
	faults int
	parts  map[int32]*faultyPartition
}

type faultyPartition struct {
	id    uint64
	epoch uint32
	next  uint32
	last  []faultyBatch
	log   []uint32
}

type faultyBatch struct {
	first uint32
	count int
	base  int64
}

const poison = 1 << 31

func (b *faultyBroker) take(r *pb.ProduceRequest) *pb.ProduceStreamResponse {
	fault := b.random.IntN(1000) < b.faults
	kind := b.random.IntN(6)
	refused := func(s *status.Status) *pb.ProduceStreamResponse {
		return &pb.ProduceStreamResponse{Status: s.Proto()}
	}
	switch {
	case fault && kind == 0:
		return nil
	case fault && kind == 1:
		return refused(testserver.Status(codes.Unavailable, "NO_LEADER"))
	case fault && kind == 2:
		return refused(testserver.Status(codes.Unavailable, "NO_QUORUM"))
	case fault && kind == 3:
		return refused(testserver.Status(codes.ResourceExhausted, "OVERLOADED"))
	}
	base, refusal := b.append(r)
	switch {
	case fault && kind == 4:
		return nil
	case fault && kind == 5 && refusal == nil:
		return refused(testserver.Status(codes.Unavailable, "NO_QUORUM"))
	case refusal != nil:
		return refused(refusal)
	}
	return &pb.ProduceStreamResponse{Response: &pb.ProduceResponse{Appends: []*pb.PartitionAppend{{
		BaseOffset: base, RecordCount: int32(len(r.GetRecords().GetRecords())),
	}}}}
}

func (b *faultyBroker) append(r *pb.ProduceRequest) (int64, *status.Status) {
	p := b.parts[r.GetPartition()]
	if p == nil {
		p = &faultyPartition{}
		b.parts[r.GetPartition()] = p
	}
	gap := testserver.Status(codes.FailedPrecondition, "SEQUENCE_GAP")
	n, records := r.GetSequence(), r.GetRecords().GetRecords()
	switch {
	case n.GetProducerId() != p.id || n.GetEpoch() > p.epoch:
		if n.GetFirstSequence() != 0 {
			return 0, gap
		}
	case n.GetEpoch() < p.epoch:
		return 0, testserver.Status(codes.FailedPrecondition, "PRODUCER_FENCED")
	case n.GetFirstSequence() != p.next:
		for _, known := range p.last {
			if known.first == n.GetFirstSequence() && known.count == len(records) {
				return known.base, nil
			}
		}
		return 0, gap
	}
	for _, record := range records {
		if binary.BigEndian.Uint32(record.GetValue())&poison != 0 {
			return 0, testserver.Status(codes.InvalidArgument, "INVALID_FIELD")
		}
	}
	if n.GetProducerId() != p.id || n.GetEpoch() > p.epoch {
		*p = faultyPartition{id: n.GetProducerId(), epoch: n.GetEpoch(), log: p.log}
	}
	base := int64(len(p.log))
	for _, record := range records {
		p.log = append(p.log, binary.BigEndian.Uint32(record.GetValue()))
	}
	p.next = n.GetFirstSequence() + uint32(len(records))
	p.last = append(p.last, faultyBatch{n.GetFirstSequence(), len(records), base})
	if len(p.last) > maxInFlight {
		p.last = p.last[1:]
	}
	return base, nil
}

// Whatever fails, no record is lost, comes twice or out of order; what is refused for what is in it
// fails alone.
func TestPipeliningProperty(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				runPipelining(t, rand.New(rand.NewPCG(seed, 11)))
			})
		})
	}
}

func runPipelining(t *testing.T, random *rand.Rand) {
	ofAnswers := another(random)
	broker := &faultyBroker{
		t: t, random: ofAnswers, faults: pick(random, 0, 20, 100, 300), parts: map[int32]*faultyPartition{},
	}
	poisoned := pick(random, 0, 0, 3, 20)
	if poisoned > 0 {
		broker.faults = 0 // what is in doubt is not halved to find the one that is poison
	}
	conn := &fakeConn{take: broker.take, latency: func() time.Duration {
		return time.Duration(ofAnswers.IntN(3_000_000))
	}}
	producer, err := newFakeClient(t, conn).NewProducer(WithPartitioner(ManualPartitioner),
		WithBatchBytes(pick(random, 1, 50, 400)), WithMaxInFlight(pick(random, 0, 0, 2, 1)))
	if err != nil {
		t.Fatal(err)
	}
	const count = 400
	partitions := 1 + random.Int32N(2)
	outcomes, offsets := make([]error, count), make([]int64, count)
	answers := make([]int, count)
	for i := range count {
		value := uint32(i)
		if random.IntN(1000) < poisoned {
			value |= poison
		}
		record := &Record{
			Topic: "t", Partition: int32(i) % partitions, Value: binary.BigEndian.AppendUint32(nil, value),
		}
		err := producer.SendAsync(t.Context(), record, func(r *Record, ack Ack, err error) {
			outcomes[i], offsets[i] = err, ack.Offset
			answers[i]++
			if isPoison := binary.BigEndian.Uint32(r.Value)&poison != 0; isPoison != (err != nil) {
				t.Errorf("record %d, poison %t: %v", i, isPoison, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if random.IntN(20) == 0 {
			time.Sleep(time.Duration(random.IntN(5)) * time.Millisecond)
		}
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	due := make([]int, partitions)
	for i := range count {
		if answers[i] != 1 {
			t.Fatalf("record %d has %d answers", i, answers[i])
		}
		if outcomes[i] != nil {
			continue
		}
		partition := int32(i) % partitions
		log := broker.parts[partition].log
		if at := due[partition]; at >= len(log) || log[at] != uint32(i) || offsets[i] != int64(at) {
			t.Fatalf("record %d is said to be at offset %d of partition %d, not at %d", i, offsets[i],
				partition, at)
		}
		due[partition]++
	}
	for partition, at := range due {
		p := broker.parts[int32(partition)]
		if p != nil && len(p.log) != at {
			t.Fatalf("partition %d has %d records, not %d", partition, len(p.log), at)
		}
	}
}
