package ropewalk

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A fakeConn stands for the connection to a broker, without a network: a producer runs against it
// alone, also by a fake clock. Each topic has four partitions.
type fakeConn struct {
	grpc.ClientConnInterface
	// latency is how long the answer to a batch takes.
	latency func() time.Duration
	// quick answers at once and remembers nothing: for benchmarks.
	quick bool
	// take answers a batch instead; without an answer the stream breaks.
	take func(*pb.ProduceRequest) *pb.ProduceStreamResponse

	mu       sync.Mutex
	requests []fakeRequest
	next     map[int32]int64
	last     time.Time
}

// A fakeRequest is a batch that came, and when.
type fakeRequest struct {
	at, answered time.Time
	*pb.ProduceRequest
}

// batches are those that came, in order.
func (f *fakeConn) batches() []fakeRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

func newFakeClient(t testing.TB, conn *fakeConn) *Client {
	t.Helper()
	conn.next = map[int32]int64{}
	config := defaultClientConfig()
	config.logger = slog.New(slog.DiscardHandler)
	c := newClient(config, []string{"fake:1"})
	c.connected(conn)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (f *fakeConn) Connect()                     {}
func (f *fakeConn) Close() error                 { return nil }
func (f *fakeConn) GetState() connectivity.State { return connectivity.Ready }

func (f *fakeConn) WaitForStateChange(ctx context.Context, _ connectivity.State) bool {
	<-ctx.Done()
	return false
}

// Invoke answers unary calls.
func (f *fakeConn) Invoke(
	_ context.Context, _ string, _, answer any, _ ...grpc.CallOption,
) error {
	switch answer := answer.(type) {
	case *pb.GetTopicResponse:
		answer.Topic = &pb.Topic{PartitionCount: 4}
		for partition := range int32(4) {
			answer.Partitions = append(answer.Partitions,
				&pb.PartitionInfo{Partition: partition, LeaderBrokerId: 1, LeaderEpoch: 1})
		}
	case *pb.GetClusterResponse:
		answer.Brokers = []*pb.Broker{{BrokerId: 1, Address: "fake:1"}}
	case *pb.InitProducerResponse:
		answer.ProducerId = 1
	}
	return nil
}

// NewStream takes batches and answers each after its latency, in order.
func (f *fakeConn) NewStream(
	ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return &fakeProduceStream{conn: f, ctx: ctx, answers: make(chan fakeAnswer, 1<<10)}, nil
}

type fakeProduceStream struct {
	grpc.ClientStream
	conn    *fakeConn
	ctx     context.Context
	answers chan fakeAnswer
	// broken: nothing comes any more.
	broken bool
}

type fakeAnswer struct {
	at time.Time
	*pb.ProduceStreamResponse
}

func (s *fakeProduceStream) Context() context.Context { return s.ctx }

func (s *fakeProduceStream) CloseSend() error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if !s.broken {
		s.broken = true
		close(s.answers)
	}
	return nil
}

func (s *fakeProduceStream) SendMsg(m any) error {
	f := s.conn
	if f.quick {
		return s.sendQuick(m)
	}
	in := &pb.ProduceStreamRequest{}
	if err := decodeMessage(m, in); err != nil {
		return err
	}
	request := in.GetRequest()
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	answered := now.Add(f.latency())
	if !answered.After(f.last) {
		answered = f.last.Add(1) // in order
	}
	f.last = answered
	f.requests = append(f.requests, fakeRequest{now, answered, request})
	if f.take != nil {
		return s.answer(answered, in, f.take(request))
	}
	count := int64(len(request.GetRecords().GetRecords()))
	base := f.next[request.GetPartition()]
	f.next[request.GetPartition()] += count
	s.answers <- fakeAnswer{answered, &pb.ProduceStreamResponse{
		Correlation: in.GetCorrelation(),
		Response: &pb.ProduceResponse{Appends: []*pb.PartitionAppend{{
			Partition: request.GetPartition(), BaseOffset: base, RecordCount: int32(count),
			LeaderEpoch: 1,
		}}},
	}}
	return nil
}

// decodeMessage does to a message what gRPC and a broker do.
func decodeMessage(sent any, in proto.Message) error {
	data, err := produceCodec{protoCodec}.Marshal(sent)
	if err != nil {
		return err
	}
	defer data.Free()
	return proto.Unmarshal(data.Materialize(), in)
}

// sendQuick does what gRPC does with a message, and looks at no record. All partitions but the
// first are of no interest to it.
func (s *fakeProduceStream) sendQuick(m any) error {
	data, err := produceCodec{protoCodec}.Marshal(m)
	if err != nil {
		return err
	}
	defer data.Free()
	records, _ := countRecords(data[1].ReadOnlyData())
	head := data[0].ReadOnlyData()
	first, _ := nextField(&head)
	correlation := first.number
	_, _, tagged := protowire.ConsumeTag(head)
	_, sized := protowire.ConsumeVarint(head[tagged:])
	const recordCount = 6<<3 | varintField // of what is compressed
	for head = head[tagged+sized:]; len(head) > 0; {
		f, ok := nextField(&head)
		if !ok {
			break // the records, which are elsewhere
		}
		if f.tag == recordCount {
			records = int(f.number)
		}
	}
	s.answers <- fakeAnswer{ProduceStreamResponse: &pb.ProduceStreamResponse{
		Correlation: correlation,
		Response:    &pb.ProduceResponse{Appends: []*pb.PartitionAppend{{RecordCount: int32(records)}}},
	}}
	return nil
}

func (s *fakeProduceStream) answer(
	at time.Time, in *pb.ProduceStreamRequest, answer *pb.ProduceStreamResponse,
) error {
	if s.broken {
		return io.EOF
	}
	if answer == nil {
		s.broken = true
		close(s.answers)
		return nil
	}
	answer.Correlation = in.GetCorrelation()
	s.answers <- fakeAnswer{at, answer}
	return nil
}

func (s *fakeProduceStream) RecvMsg(m any) error {
	select {
	case answer, ok := <-s.answers:
		if !ok {
			return io.EOF
		}
		if !answer.at.IsZero() && !sleep(s.ctx, time.Until(answer.at)) {
			return s.ctx.Err()
		}
		proto.Merge(m.(*pb.ProduceStreamResponse), answer.ProduceStreamResponse)
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}
