package ropewalk

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// A doubtfulConn leaves more in doubt than a fakeConn: a stream that is cut loses all answers that were
// not read, what was sent into it may come late, and refusals may not be true.
type doubtfulConn struct {
	fakeConn
	broker *faultyBroker
	rates  doubtRates

	mu     sync.Mutex // of what follows and the broker
	random *rand.Rand
	late   []*pb.ProduceRequest
}

// doubtRates are faults in a thousand batches; deadMs is how long a cut may go unnoticed.
type doubtRates struct{ cut, late, refused, appended, staleGap, deadMs int }

func (f *doubtfulConn) hit(rate int) bool { return f.random.IntN(1000) < rate }

func (f *doubtfulConn) NewStream(
	ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return &doubtfulStream{
		conn: f, ctx: ctx, answers: make(chan fakeAnswer, 1<<12), cut: make(chan struct{}),
	}, nil
}

type doubtfulStream struct {
	grpc.ClientStream
	conn          *doubtfulConn
	ctx           context.Context
	answers       chan fakeAnswer
	cut           chan struct{}
	isCut, closed bool
	last          time.Time
}

func (s *doubtfulStream) Context() context.Context { return s.ctx }

func (s *doubtfulStream) CloseSend() error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.answers)
	}
	return nil
}

func (s *doubtfulStream) SendMsg(m any) error {
	f, in := s.conn, &pb.ProduceStreamRequest{}
	if err := decodeMessage(m, in); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.isCut || s.closed {
		return io.EOF
	}
	f.takeLate()
	if f.hit(f.rates.cut) {
		switch {
		case f.hit(f.rates.late):
			f.late = append(f.late, in.GetRequest())
		case f.hit(500):
			f.broker.append(in.GetRequest())
		}
		s.isCut = true
		unnoticed := time.Duration(f.random.IntN(f.rates.deadMs*1000+1)) * time.Microsecond
		time.AfterFunc(unnoticed, func() { close(s.cut) })
		return nil
	}
	answer := f.answer(in.GetRequest())
	answer.Correlation = in.GetCorrelation()
	at := time.Now().Add(time.Duration(f.random.IntN(3_000_000)))
	if !at.After(s.last) {
		at = s.last.Add(1) // in order
	}
	s.last = at
	s.answers <- fakeAnswer{at, answer}
	return nil
}

// takeLate has batches of streams that were cut come at last.
func (f *doubtfulConn) takeLate() {
	for len(f.late) > 0 && f.hit(300) {
		i := f.random.IntN(len(f.late))
		r := f.late[i]
		f.late = append(f.late[:i:i], f.late[i+1:]...)
		f.broker.append(r)
	}
}

func (f *doubtfulConn) answer(r *pb.ProduceRequest) *pb.ProduceStreamResponse {
	refused := func(s *status.Status) *pb.ProduceStreamResponse {
		return &pb.ProduceStreamResponse{Status: s.Proto()}
	}
	switch {
	case f.hit(f.rates.refused):
		return refused(pick(f.random,
			testserver.Status(codes.Unavailable, "NO_LEADER"),
			testserver.Status(codes.Unavailable, "NOT_LEADER"),
			testserver.Status(codes.Unavailable, "NO_QUORUM"),
			testserver.Status(codes.ResourceExhausted, "OVERLOADED"),
			testserver.Status(codes.DeadlineExceeded, "TIMED_OUT"),
			testserver.Status(codes.Internal, "INTERNAL")))
	case f.hit(f.rates.staleGap):
		return refused(testserver.Status(codes.FailedPrecondition, "SEQUENCE_GAP"))
	}
	base, refusal := f.broker.append(r)
	switch {
	case refusal != nil:
		return refused(refusal)
	case f.hit(f.rates.appended):
		return refused(testserver.Status(codes.Unavailable, "NO_QUORUM"))
	}
	return &pb.ProduceStreamResponse{Response: &pb.ProduceResponse{Appends: []*pb.PartitionAppend{{
		BaseOffset: base, RecordCount: int32(len(r.GetRecords().GetRecords())),
	}}}}
}

func (s *doubtfulStream) RecvMsg(m any) error {
	var at <-chan time.Time
	var answer fakeAnswer
	answers := s.answers
	for {
		select {
		case next, open := <-answers:
			if !open {
				return io.EOF
			}
			answer, answers, at = next, nil, time.After(time.Until(next.at))
		case <-at:
			proto.Merge(m.(*pb.ProduceStreamResponse), answer.ProduceStreamResponse)
			return nil
		case <-s.cut:
			return io.ErrUnexpectedEOF
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// What is acknowledged is there once and in order, and what surely was not appended is not there,
// whatever is in doubt meanwhile and is given up: by few retries, by short timeouts, by Purge or Abort.
func TestDoubtProperty(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runDoubt(t, rand.New(rand.NewPCG(seed, 77))) })
		})
	}
}

func doubtfulProducer(t *testing.T, random *rand.Rand) (*Producer, *faultyBroker) {
	ofBroker, ofPauses := another(random), another(random)
	broker := &faultyBroker{t: t, random: ofBroker, parts: map[int32]*faultyPartition{}}
	conn := &doubtfulConn{broker: broker, random: ofBroker, rates: doubtRates{
		cut: pick(random, 0, 10, 50, 150), late: pick(random, 0, 500),
		refused: pick(random, 0, 10, 50, 200), appended: pick(random, 0, 10, 100),
		staleGap: pick(random, 0, 0, 20), deadMs: pick(random, 1, 20, 200),
	}}
	client := newFakeClient(t, &conn.fakeConn)
	client.connected(conn)
	var mu sync.Mutex
	pause := func(int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(ofPauses.IntN(20)) * time.Millisecond
	}
	producer, err := client.NewProducer(WithPartitioner(ManualPartitioner), WithRetryBackoff(pause),
		WithBatchBytes(pick(random, 1, 50, 400)), WithMaxRetries(pick(random, 0, 1, 3, unlimited)),
		WithAnswerTimeout(20*time.Millisecond),
		WithDeliveryTimeout(time.Duration(pick(random, 20, 60, 500, 60_000))*time.Millisecond),
		WithBatching(pick(random, Batching{}, Batching{MaxRecords: 3}, Batching{Records: 5})),
		WithMaxInFlight(pick(random, 0, 0, 2, 3)))
	if err != nil {
		t.Fatal(err)
	}
	return producer, broker
}

func runDoubt(t *testing.T, random *rand.Rand) {
	const count = 400
	producer, broker := doubtfulProducer(t, random)
	partitions, poisoned := 1+random.Int32N(2), pick(random, 0, 0, 5)
	purges, aborts := random.IntN(2) == 0, random.IntN(10) == 0
	outcomes, offsets, answers := make([]error, count), make([]int64, count), make([]int, count)
	for i := range count {
		value := uint32(i)
		if random.IntN(1000) < poisoned {
			value |= poison
		}
		record := &Record{
			Topic: "t", Partition: int32(i) % partitions, Value: binary.BigEndian.AppendUint32(nil, value),
		}
		err := producer.SendAsync(t.Context(), record, func(_ *Record, ack Ack, err error) {
			outcomes[i], offsets[i] = err, ack.Offset
			answers[i]++
		})
		if err != nil {
			t.Fatal(err)
		}
		if random.IntN(20) == 0 {
			time.Sleep(time.Duration(random.IntN(5)) * time.Millisecond)
		}
		if purges && random.IntN(100) == 0 {
			producer.Purge()
		}
		if random.IntN(100) == 0 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(4))*time.Millisecond)
			_ = producer.Flush(ctx) // it may be given up
			cancel()
		}
	}
	end := producer.Close
	if aborts {
		end = producer.Abort
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	checkDoubt(t, broker, outcomes, offsets, answers)
}

func checkDoubt(t *testing.T, broker *faultyBroker, outcomes []error, offsets []int64, answers []int) {
	places := map[uint32][]int64{}
	for number, p := range broker.parts {
		for offset, value := range p.log {
			if offset > 0 && value <= p.log[offset-1] {
				t.Fatalf("partition %d has %d behind %d", number, value, p.log[offset-1])
			}
			places[value] = append(places[value], int64(offset))
		}
	}
	for i, err := range outcomes {
		at, e := places[uint32(i)], (*Error)(nil)
		switch {
		case answers[i] != 1:
			t.Fatalf("record %d has %d answers", i, answers[i])
		case err == nil && (len(at) != 1 || at[0] != offsets[i]):
			t.Fatalf("record %d was acknowledged at %d, and is at %v", i, offsets[i], at)
		case errors.As(err, &e) && e.Appended() == OutcomeNo && len(at) > 0:
			t.Fatalf("record %d surely was not appended, and is at %v: %v", i, at, err)
		case errors.Is(err, ReasonProducerFenced):
			t.Fatalf("record %d: %v", i, err)
		}
	}
}
