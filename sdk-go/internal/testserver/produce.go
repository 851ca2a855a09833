package testserver

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

type producerService struct {
	pb.UnsafeProducerServiceServer
	s *Server
}

// Produce appends one batch.
func (p *producerService) Produce(
	ctx context.Context, r *pb.ProduceRequest,
) (*pb.ProduceResponse, error) {
	p.s.mu.Lock()
	hint, err := p.s.routeBatch(ctx, r)
	p.s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	_ = grpc.SetTrailer(ctx, hint) // fails only outside of a call
	answer, err, _ := p.handle(r)  // what ends a stream, or gets no answer there, is an error here
	return answer, err
}

// InitProducer gives a producer its id and epoch.
func (p *producerService) InitProducer(
	_ context.Context, r *pb.InitProducerRequest,
) (*pb.InitProducerResponse, error) {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.GetName() == "no\nname" {
		return nil, invalid("name")
	}
	if known := s.names[r.GetName()]; known != nil && r.GetName() != "" {
		known.Epoch += 1 << 16
		return &pb.InitProducerResponse{ProducerId: known.GetProducerId(), Epoch: known.GetEpoch()}, nil
	}
	s.given++
	given := &pb.InitProducerResponse{ProducerId: s.given}
	s.names[r.GetName()] = given
	return &pb.InitProducerResponse{ProducerId: s.given}, nil
}

// ProduceStream appends batches in the order in which they come.
func (p *producerService) ProduceStream(stream pb.ProducerService_ProduceStreamServer) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		response, err, silent := p.streamed(stream.Context(), request.GetRequest())
		if silent && err != nil {
			return err
		}
		if silent {
			continue
		}
		answer := &pb.ProduceStreamResponse{Correlation: request.GetCorrelation(), Response: response}
		if err != nil {
			answer.Status = status.Convert(err).Proto()
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

// streamed is handle for a batch of a stream, whose trailers nobody waits for.
func (p *producerService) streamed(
	ctx context.Context, r *pb.ProduceRequest,
) (_ *pb.ProduceResponse, _ error, silent bool) {
	p.s.mu.Lock()
	_, err := p.s.routeBatch(ctx, r)
	p.s.mu.Unlock()
	if err != nil {
		return nil, err, false
	}
	return p.handle(r)
}

// handle appends a batch, or does what a fault says; silent means that no answer is due, and with an
// error that the stream ends with it.
func (p *producerService) handle(
	r *pb.ProduceRequest,
) (_ *pb.ProduceResponse, _ error, silent bool) {
	s := p.s
	s.mu.Lock()
	hook := s.onProduce
	s.mu.Unlock()
	var fault *Fault
	if hook != nil {
		fault = hook(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fault == nil {
		answer, err := s.append(r)
		if err == nil {
			s.cluster.takers = append(s.cluster.takers, s.id)
		}
		return answer, err, false
	}
	if fault.Append {
		if answer, err := s.append(r); err != nil {
			return answer, err, false
		}
	}
	if fault.Cut {
		s.listener.cut()
	}
	if fault.Cut || fault.Hang {
		return nil, nil, true
	}
	return nil, fault.Status.Err(), fault.End
}
