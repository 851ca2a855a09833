package ropewalk

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// silentAfter is how long a leader may answer nothing before somebody else is asked who leads.
const silentAfter = 2 * time.Second

// A produceStream is one ProduceStream call of a producer. The sender writes to it; a goroutine of
// its own reads the answers, until the broker ends it. Its fields are guarded by the producer's
// lock.
type produceStream struct {
	producer *Producer
	// conn is the connection to the leader; nil: through whichever broker answers.
	conn   *brokerConn
	broker uint64
	// address is where the broker is; of whichever answers it is known from the first answer on.
	address  string
	rpc      pb.ProducerService_ProduceStreamClient
	cancel   context.CancelCauseFunc
	ctx      context.Context
	watchdog *time.Timer
	inflight map[uint64]*batch
	used     time.Time
	ended    bool
	endedBy  *Error
}

// currentStream returns the stream to send on: to the leader, or while there is no connection to it
// through whichever broker answers. It opens a new one when there is none, and when the connection
// under it is being taken away by the broker: the old one then lives on for the answers it still
// owes.
func (p *Producer) currentStream(leader uint64) (*produceStream, *Error) {
	conn := p.client.brokers.use(leader)
	if conn == nil {
		leader = anyBroker
	}
	p.mu.Lock()
	s := p.streams[leader]
	if s != nil {
		s.used = time.Now() // so that watch does not find it idle, and end it, before the batch is written
	}
	p.mu.Unlock()
	if s != nil && s.conn == conn && (conn != nil || !p.client.departing()) {
		if conn != nil {
			p.client.brokers.release(conn) // the stream holds it too
		}
		return s, nil
	}
	if s != nil {
		_ = s.rpc.CloseSend() // never fails, by its contract
	}
	s, err := p.openStream(leader, conn)
	if err != nil && conn != nil {
		p.client.brokers.release(conn)
		if !errors.Is(err, errNoRoom) {
			p.client.brokers.failed(leader)
		}
		return p.currentStream(anyBroker)
	}
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	if !s.ended {
		p.streams[leader] = s
	}
	p.mu.Unlock()
	return s, nil
}

// openStream starts a call. An error means that no broker saw any of it.
func (p *Producer) openStream(leader uint64, conn *brokerConn) (*produceStream, *Error) {
	ctx, cancel := context.WithCancelCause(p.ctx)
	producers := p.client.producers
	if conn != nil {
		// A leader says when it does not lead any more.
		ctx = metadata.AppendToOutgoingContext(ctx, noForward, "1")
		producers = conn.producers
	}
	rpc, err := producers.ProduceStream(ctx, asProduceMessages())
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
		producer: p, conn: conn, broker: leader, rpc: rpc, ctx: ctx, cancel: cancel,
		inflight: map[uint64]*batch{}, used: time.Now(),
	}
	if conn != nil {
		s.address = conn.address
	}
	s.watchdog = time.AfterFunc(min(p.config.answerTimeout/4, time.Second), s.watch)
	p.tasks.Go(s.receive)
	return s, nil
}

// send writes a batch. Whether the transport took it decides what a broken stream means for it.
func (s *produceStream) send(b *batch) {
	p := s.producer
	p.correlation++
	correlation := p.correlation
	message, e := messageOf(&pb.ProduceRequest{
		Topic:      b.lane.topic,
		Partition:  &b.lane.partition,
		Durability: pb.Durability(p.config.durability),
		Sequence:   b.number,
	}, b.encoded, correlation)
	if e != nil {
		p.failed(b, e)
		return
	}
	p.mu.Lock()
	b.started, b.written, b.broker, b.stream = time.Now(), false, s.broker, s
	b.address = s.address
	s.used = b.started
	s.inflight[correlation] = b
	p.mu.Unlock()

	p.client.hooks.batchSent(b)
	err := s.rpc.SendMsg(message)

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
	if p.streams[s.broker] == s {
		delete(p.streams, s.broker)
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
	for first := s.conn == nil; ; first = false {
		answer, err := s.rpc.Recv()
		if err != nil {
			s.end(err)
			return
		}
		if first {
			s.locate()
		}
		s.answered(answer)
	}
}

// locate learns which broker answers.
func (s *produceStream) locate() {
	address := addressUnder(s.rpc)
	s.producer.mu.Lock()
	defer s.producer.mu.Unlock()
	s.address = address
}

// end settles what the stream still owed.
func (s *produceStream) end(err error) {
	p := s.producer
	e := s.endError(err)
	s.watchdog.Stop()
	p.mu.Lock()
	s.ended, s.endedBy = true, e
	if p.streams[s.broker] == s {
		delete(p.streams, s.broker)
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
	if s.conn != nil {
		if !errors.Is(err, io.EOF) && p.ctx.Err() == nil {
			p.client.brokers.failed(s.broker)
		}
		p.client.brokers.release(s.conn)
	}
	if p.ctx.Err() == nil && len(owed) > 0 {
		p.client.log.Warn("ropewalk: produce stream broke",
			"broker", s.broker, "unanswered", len(owed), "error", e)
	}
	if p.ctx.Err() == nil && (len(owed) > 0 || !errors.Is(err, io.EOF)) {
		p.client.hooks.streamBroken(StreamBroken{Failures: 1, Unanswered: len(owed), Err: e})
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
	if b != nil {
		b.address = s.address
	}
	p.mu.Unlock()
	if b == nil {
		return
	}
	if s.conn != nil {
		p.client.brokers.worked(s.broker)
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
	ack := ackFrom(at, b.address)
	p.client.topics.appended(b.lane.topic, b.lane.partition, at.GetLeaderEpoch())
	p.client.hooks.batchAnswered(p, b, ack, nil)
	// Before another batch goes, perhaps by another stream: outcomes come in order.
	p.settle(b, func(i int) (Ack, error) {
		ack.Offset = at.GetBaseOffset() + int64(i)
		return ack, nil
	})
	p.mu.Lock()
	b.lane.landed(b)
	b.lane.alone = false
	lost := p.moveOn(b.lane)
	p.mu.Unlock()
	p.giveUp(lost)
}

// watch ends a stream whose oldest batch has waited for too long: broker or network hang, and
// nothing behind that batch would be answered either. A leader that has answered nothing for a while
// is left sooner, when another one leads by then. What is not used is closed.
func (s *produceStream) watch() {
	p := s.producer
	limit := p.config.answerTimeout
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.ended {
		return
	}
	if s.conn != nil && len(s.inflight) == 0 && time.Since(s.used) > idleAfter {
		if p.streams[s.broker] == s { // another one may have taken its place
			delete(p.streams, s.broker)
		}
		_ = s.rpc.CloseSend() // never fails, by its contract
		return
	}
	for _, b := range s.inflight {
		if s.conn != nil && time.Since(b.started) >= silentAfter {
			leader := p.client.topics.leader(b.lane.topic, b.lane.partition)
			if leader != anyBroker && leader != s.broker {
				s.cancel(newError("produce", ReasonDisconnected, codes.Unavailable, OutcomeMaybe,
					"broker %d did not answer, and does not lead any more", s.broker))
				return
			}
			p.client.topics.suspect(b.lane.topic)
		}
		if time.Since(b.started) >= limit {
			s.cancel(newError("produce", ReasonTimedOut, codes.DeadlineExceeded, OutcomeMaybe,
				"no answer within %v", limit))
			return
		}
	}
	s.watchdog.Reset(min(limit/4, time.Second))
}
