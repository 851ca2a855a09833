package ropewalk

import (
	"encoding/binary"
	"errors"
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
	doubtful := 0
	for seed := range uint64(300) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				doubtful += runPipelining(t, rand.New(rand.NewPCG(seed, 11)))
			})
		})
	}
	// 15 were seen, and 500 where each poison takes with it what is in doubt before and behind it.
	if doubtful > 40 {
		t.Errorf("%d records failed for poison that was in doubt itself", doubtful)
	}
}

// runPipelining returns how many records failed because poison before them may have been appended, by
// an earlier try, for all that is known: then nobody knows of them either.
func runPipelining(t *testing.T, random *rand.Rand) (doubtful int) {
	ofAnswers := another(random)
	broker := &faultyBroker{
		t: t, random: ofAnswers, faults: pick(random, 0, 20, 100, 300), parts: map[int32]*faultyPartition{},
	}
	poisoned, bytes := pick(random, 0, 0, 3, 20), pick(random, 1, 50, 400)
	if bytes == 1 {
		poisoned *= 5
	}
	if poisoned > 0 && bytes > 1 {
		broker.faults = 0 // what is in doubt is not halved to find the one that is poison
	}
	conn := &fakeConn{take: broker.take, latency: func() time.Duration {
		return time.Duration(ofAnswers.IntN(3_000_000))
	}}
	producer, err := newFakeClient(t, conn).NewProducer(WithPartitioner(ManualPartitioner),
		WithBatchBytes(bytes), WithMaxInFlight(pick(random, 0, 0, 2, 1)))
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
			var e *Error
			isPoison := binary.BigEndian.Uint32(r.Value)&poison != 0
			switch {
			case isPoison == (err != nil):
			case poisoned > 0 && errors.As(err, &e) && e.Appended() == OutcomeMaybe:
				doubtful++
			default:
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
		partition := int32(i) % partitions
		var log []uint32
		if p := broker.parts[partition]; p != nil {
			log = p.log
		}
		if outcomes[i] != nil {
			if at := due[partition]; at < len(log) && log[at] == uint32(i) {
				due[partition]++ // it is there all the same, if its error does not rule that out
				if e := (*Error)(nil); !errors.As(outcomes[i], &e) || e.Appended() == OutcomeNo {
					t.Fatalf("record %d is there: %v", i, outcomes[i])
				}
			}
			continue
		}
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
	return doubtful
}

// A record that is refused for what is in it takes nothing with it: neither one before it of which it
// is not known yet whether it was appended, nor one behind it.
func TestPoisonBehindABatchInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &faultyBroker{t: t, random: rand.New(rand.NewPCG(0, 0)), parts: map[int32]*faultyPartition{}}
		doubted := false
		conn := &fakeConn{latency: func() time.Duration { return time.Millisecond }}
		conn.take = func(r *pb.ProduceRequest) *pb.ProduceStreamResponse {
			answer := broker.take(r)
			if r.GetSequence().GetFirstSequence() == 0 && !doubted {
				doubted = true
				return &pb.ProduceStreamResponse{
					Status: testserver.Status(codes.Unavailable, "NO_QUORUM").Proto(),
				}
			}
			return answer
		}
		producer, err := newFakeClient(t, conn).NewProducer(WithBatchBytes(1))
		if err != nil {
			t.Fatal(err)
		}
		outcomes := make([]error, 3)
		for i, value := range []uint32{0, poison, 2} {
			record := &Record{Topic: "t", Value: binary.BigEndian.AppendUint32(nil, value)}
			done := func(_ *Record, _ Ack, err error) { outcomes[i] = err }
			if err := producer.SendAsync(t.Context(), record, done); err != nil {
				t.Fatal(err)
			}
		}
		if err := producer.Close(); err != nil {
			t.Fatal(err)
		}
		if outcomes[0] != nil || outcomes[1] == nil || outcomes[2] != nil {
			t.Errorf("outcomes %v", outcomes)
		}
	})
}

// A batch that waits to be sent again fails as soon as the producer is aborted, also one that Close
// waits for, and so does what is handed over meanwhile.
func TestAbortWhileABatchWaitsToBeSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := func(*pb.ProduceRequest) *pb.ProduceStreamResponse {
			refusal := testserver.Status(codes.Unavailable, "NO_LEADER")
			return &pb.ProduceStreamResponse{Status: refusal.Proto()}
		}
		conn := &fakeConn{take: down, latency: func() time.Duration { return time.Millisecond }}
		producer, err := newFakeClient(t, conn).NewProducer(
			WithRetryBackoff(func(int) time.Duration { return time.Minute }))
		if err != nil {
			t.Fatal(err)
		}
		outcomes := make(chan error, 1)
		done := func(_ *Record, _ Ack, err error) { outcomes <- err }
		if err := producer.SendAsync(t.Context(), &Record{Topic: "t"}, done); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // it rests
		closed := make(chan error, 1)
		go func() { closed <- producer.Close() }()
		synctest.Wait()
		began := time.Now()
		if err := producer.Abort(); err != nil {
			t.Error(err)
		}
		if err := <-outcomes; !errors.Is(err, ReasonNoLeader) && !errors.Is(err, ReasonClosed) {
			t.Errorf("the record: %v", err)
		}
		if err := <-closed; err != nil || time.Since(began) > closeTimeout {
			t.Errorf("Close: %v, after %v", err, time.Since(began))
		}
		if err := producer.SendAsync(t.Context(), &Record{Topic: "t"}, nil); !errors.Is(err, ReasonClosed) {
			t.Errorf("sent afterwards: %v", err)
		}
	})
}

// What is purged is not waited for any more: a lane without records is not looked at again and again.
func TestPurgeLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &fakeConn{latency: func() time.Duration { return time.Second }}
		producer, err := newFakeClient(t, conn).NewProducer(WithPartitioner(ManualPartitioner),
			WithBatchBytes(100))
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			record := &Record{Topic: "t", Value: make([]byte, 60)}
			if err := producer.SendAsync(t.Context(), record, nil); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if producer.Purge() == 0 {
			t.Fatal("nothing waited")
		}
		l := producer.topics["t"].lanes[0]
		if l.bytes != 0 || producer.maySend(l) {
			t.Errorf("%d bytes are left, of a lane that may send: %t", l.bytes, producer.maySend(l))
		}
		if err := producer.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A partitioner that panics costs the record, and no memory.
func TestPartitionerThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := func(string) Partitioner {
			return PartitionerFunc(func(r *Record, _ int32) int32 {
				if r.Key != nil {
					panic("of the program")
				}
				return 0
			})
		}
		conn := &fakeConn{latency: func() time.Duration { return time.Millisecond }}
		producer, err := newFakeClient(t, conn).NewProducer(WithPartitioner(panics), WithBufferBytes(1000))
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic is the caller's")
					}
				}()
				_ = producer.SendAsync(t.Context(), &Record{Topic: "t", Key: []byte("k")}, nil)
			}()
		}
		if _, err := producer.Send(t.Context(), &Record{Topic: "t"}); err != nil {
			t.Error(err)
		}
	})
}
