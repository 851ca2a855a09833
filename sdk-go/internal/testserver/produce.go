package testserver

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/status"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

type producerService struct {
	pb.UnsafeProducerServiceServer
	s *Server
}

// Produce appends one batch.
func (p *producerService) Produce(
	_ context.Context, r *pb.ProduceRequest,
) (*pb.ProduceResponse, error) {
	answer, err, _ := p.handle(r) // what ends a stream, or gets no answer there, is an error here
	return answer, err
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
		response, err, silent := p.handle(request.GetRequest())
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
