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
	"google.golang.org/protobuf/proto"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A fakeConn stands for the connection to a broker, without a network: a producer runs against it
// alone, also by a fake clock. Each topic has four partitions.
type fakeConn struct {
	grpc.ClientConnInterface
	// latency is how long the answer to a batch takes.
	latency func() time.Duration

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
	return &fakeStream{conn: f, ctx: ctx, answers: make(chan fakeAnswer, 1<<10)}, nil
}

type fakeStream struct {
	grpc.ClientStream
	conn    *fakeConn
	ctx     context.Context
	answers chan fakeAnswer
}

type fakeAnswer struct {
	at time.Time
	*pb.ProduceStreamResponse
}

func (s *fakeStream) CloseSend() error {
	close(s.answers)
	return nil
}

func (s *fakeStream) SendMsg(m any) error {
	in := m.(*pb.ProduceStreamRequest)
	request := proto.CloneOf(in.GetRequest())
	f := s.conn
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	answered := now.Add(f.latency())
	if !answered.After(f.last) {
		answered = f.last.Add(1) // in order
	}
	f.last = answered
	f.requests = append(f.requests, fakeRequest{now, answered, request})
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

func (s *fakeStream) RecvMsg(m any) error {
	select {
	case answer, ok := <-s.answers:
		if !ok {
			return io.EOF
		}
		if !sleep(s.ctx, time.Until(answer.at)) {
			return s.ctx.Err()
		}
		proto.Merge(m.(*pb.ProduceStreamResponse), answer.ProduceStreamResponse)
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}
