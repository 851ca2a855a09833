package ropewalk

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A produceStream is one ProduceStream call of a producer. The sender writes to it; a goroutine of
// its own reads the answers, until the broker ends it. Its fields are guarded by the producer's
// lock.
type produceStream struct {
	producer *Producer
	rpc      pb.ProducerService_ProduceStreamClient
	cancel   context.CancelCauseFunc
	ctx      context.Context
	watchdog *time.Timer
	inflight map[uint64]*batch
	ended    bool
	endedBy  *Error
}

// currentStream returns the stream to send on. It opens a new one when there is none, and when the
// connection under it is being taken away by the broker: the old one then lives on for the answers
// it still owes.
func (p *Producer) currentStream() (*produceStream, *Error) {
	p.mu.Lock()
	s := p.stream
	p.mu.Unlock()
	if s != nil && !p.client.departing() {
		return s, nil
	}
	if s != nil {
		_ = s.rpc.CloseSend() // never fails, by its contract
	}
	s, err := p.openStream()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	if !s.ended {
		p.stream = s
	}
	p.mu.Unlock()
	return s, nil
}

// openStream starts a call. An error means that no broker saw any of it.
func (p *Producer) openStream() (*produceStream, *Error) {
	ctx, cancel := context.WithCancelCause(p.ctx)
	rpc, err := p.client.producers.ProduceStream(ctx)
	if err != nil {
		cancel(nil)
		e := fromRPC("produce", err)
		if p.ctx.Err() != nil {
			return nil, closedError("produce", "producer")
		}
		if e.outcome = OutcomeNo; e.Reason == "" && e.code == codes.Unavailable {
			e.Reason = ReasonUnreachable
		}
		return nil, e
	}
	s := &produceStream{
		producer: p, rpc: rpc, ctx: ctx, cancel: cancel, inflight: map[uint64]*batch{},
	}
	s.watchdog = time.AfterFunc(p.config.answerTimeout/4, s.watch)
	p.tasks.Go(s.receive)
	return s, nil
}

// send writes a batch. Whether the transport took it decides what a broken stream means for it.
func (s *produceStream) send(b *batch) {
	p := s.producer
	partition := b.lane.partition
	request := &pb.ProduceStreamRequest{
		Request: &pb.ProduceRequest{
			Topic:      b.lane.topic,
			Partition:  &partition,
			Data:       &pb.ProduceRequest_Records{Records: encodeRecords(b.records)},
			Durability: pb.Durability(p.config.durability),
		},
	}
	p.mu.Lock()
	p.correlation++
	correlation := p.correlation
	request.Correlation = correlation
	b.started, b.written = time.Now(), false
	s.inflight[correlation] = b
	p.mu.Unlock()

	err := s.rpc.Send(request)

	p.mu.Lock()
	mine := s.inflight[correlation] == b
	lost := err != nil || s.ended
	if mine && lost {
		delete(s.inflight, correlation)
	}
	b.written = true
	cause := s.endedBy
	p.mu.Unlock()
	switch {
	case !mine || !lost: // answered already, or under way
	case err != nil:
		p.failed(b, s.notSent(err))
	default:
		p.failed(b, cause)
	}
}

// notSent is the error of a batch that the transport refused: io.EOF stands for a stream that had
// ended before.
func (s *produceStream) notSent(err error) *Error {
	p := s.producer
	p.mu.Lock()
	if p.stream == s {
		p.stream = nil
	}
	p.mu.Unlock()
	if errors.Is(err, io.EOF) {
		return newError("produce", ReasonUnreachable, codes.Unavailable, OutcomeNo,
			"the stream had ended before the batch was sent")
	}
	e := fromRPC("produce", err)
	e.outcome = OutcomeNo
	return e
}

// receive reads answers until the stream ends.
func (s *produceStream) receive() {
	for {
		answer, err := s.rpc.Recv()
		if err != nil {
			s.end(err)
			return
		}
		s.answered(answer)
	}
}

// end settles what the stream still owed.
func (s *produceStream) end(err error) {
	p := s.producer
	e := s.endError(err)
	s.watchdog.Stop()
	p.mu.Lock()
	s.ended, s.endedBy = true, e
	if p.stream == s {
		p.stream = nil
	}
	var owed []*batch
	for correlation, b := range s.inflight {
		if b.written { // what is being written is the sender's to settle
			owed = append(owed, b)
			delete(s.inflight, correlation)
		}
	}
	p.mu.Unlock()
	s.cancel(nil)
	if p.ctx.Err() == nil && len(owed) > 0 {
		p.client.log.Warn("ropewalk: produce stream broke", "unanswered", len(owed), "error", e)
	}
	for _, b := range owed {
		p.failed(b, e)
	}
}

// endError says what the end of a stream means for batches that were sent and not answered. A broker
// that ends a stream by itself first answers every batch that it took, so that its reason holds for the
// others: one that drains did not append them. Of a connection that broke nothing is known.
func (s *produceStream) endError(err error) *Error {
	var own *Error
	if errors.As(context.Cause(s.ctx), &own) {
		c := *own
		c.outcome = OutcomeMaybe
		return &c
	}
	if errors.Is(err, io.EOF) {
		return newError("produce", ReasonDisconnected, codes.Unavailable, OutcomeMaybe,
			"the broker ended the stream without an answer")
	}
	e := fromRPC("produce", err)
	if e.Reason == "" && e.Retriable() {
		e.Reason, e.outcome = ReasonDisconnected, OutcomeMaybe
	}
	return e
}

// answered settles the batch of an answer. One that is not known was given up before.
func (s *produceStream) answered(answer *pb.ProduceStreamResponse) {
	p := s.producer
	p.mu.Lock()
	b := s.inflight[answer.GetCorrelation()]
	delete(s.inflight, answer.GetCorrelation())
	p.mu.Unlock()
	if b == nil {
		return
	}
	if answer.GetStatus().GetCode() != int32(codes.OK) {
		p.failed(b, fromStatus("produce", status.FromProto(answer.GetStatus())))
		return
	}
	at, mismatch := singleAppend(answer.GetResponse(), len(b.records))
	if mismatch != nil {
		p.failed(b, mismatch)
		return
	}
	ack := ackFrom(at)
	p.mu.Lock()
	p.next(b.lane)
	p.mu.Unlock()
	p.finish(b.records, func(i int) (Ack, error) {
		ack.Offset = at.GetBaseOffset() + int64(i)
		return ack, nil
	})
}

// watch ends a stream whose oldest batch has waited for too long: broker or network hang, and
// nothing behind that batch would be answered either.
func (s *produceStream) watch() {
	p := s.producer
	limit := p.config.answerTimeout
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.ended {
		return
	}
	for _, b := range s.inflight {
		if time.Since(b.started) >= limit {
			s.cancel(newError("produce", ReasonTimedOut, codes.DeadlineExceeded, OutcomeMaybe,
				"no answer within %v", limit))
			return
		}
	}
	s.watchdog.Reset(min(limit/4, time.Second))
}
