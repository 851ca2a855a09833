package ropewalk

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// An identity is what the broker knows an idempotent producer by.
type identity struct {
	id    uint64
	epoch uint32
}

// epochsOfAHolder is how many epochs of its id each holder of a name has: the one that it is given, and
// those after it.
const epochsOfAHolder = 1 << 16

// A numbering is where the numbers of a lane's batches stand, by which the broker knows one again that
// comes twice. The broker takes a batch only when it holds the one before it. So when one is given up,
// or the partition has forgotten the producer, the numbers begin anew: at 0, in a new epoch, which ends
// the one before. What was sent in that one and comes late is refused then. Guarded by the producer's
// lock.
type numbering struct {
	identity *identity
	next     uint32
}

// number gives a batch its number, unless it has one. It may have to ask the broker for an id first;
// only the sender calls it.
func (p *Producer) number(b *batch) *Error {
	if !p.config.numbered() || b.number != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := &b.lane.numbers
	if n.identity == nil {
		if p.identity == nil {
			p.mu.Unlock()
			given, err := p.identify(p.ctx, p.config.name, b.deadline)
			p.mu.Lock()
			if err != nil {
				return err
			}
			p.identity = given
		}
		n.identity = p.identity
	}
	b.number = &pb.ProducerSequence{
		ProducerId: n.identity.id, Epoch: n.identity.epoch, FirstSequence: n.next,
	}
	n.next += uint32(len(b.records))
	return nil
}

// identify asks the broker who the producer of a name is, or for an id of its own. Each answer has
// another epoch, so that it may be asked as often as it takes.
func (p *Producer) identify(
	ctx context.Context, name string, deadline time.Time,
) (*identity, *Error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	answer, err := call(ctx, p.client, "init producer", true,
		func(ctx context.Context) (*pb.InitProducerResponse, error) {
			return p.client.producers.InitProducer(ctx, &pb.InitProducerRequest{Name: name})
		})
	if err == nil {
		return &identity{id: answer.GetProducerId(), epoch: answer.GetEpoch()}, nil
	}
	e := fromRPC("produce", err)
	if p.ctx.Err() != nil {
		return nil, closedError("produce", "producer")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		e = newError("produce", ReasonTimedOut, codes.DeadlineExceeded, OutcomeNo,
			"the broker gave the producer no id in time")
	}
	if e.code == codes.Unimplemented {
		e.Message = "the brokers do not know idempotent producers: upgrade them, or make the producer " +
			"WithoutIdempotence"
	}
	e.outcome = OutcomeNo // whatever became of it: no record was sent
	return nil, e
}

// restart begins the numbers of a lane anew, if the batch was numbered since they did last. The caller
// holds the lock; nothing of the lane is under way.
func (p *Producer) restart(b *batch) {
	n := &b.lane.numbers
	if b.number == nil || n.identity == nil ||
		b.number.GetProducerId() != n.identity.id || b.number.GetEpoch() != n.identity.epoch {
		return
	}
	own := *n.identity
	*n = numbering{}
	switch {
	case own.epoch+1 != 0 && (p.config.name == "" || (own.epoch+1)%epochsOfAHolder != 0):
		// This epoch is our own too: to ask for one would take a name back from whoever has it since.
		n.identity = &identity{id: own.id, epoch: own.epoch + 1}
	case p.identity != nil && p.identity.id == own.id && p.identity.epoch <= own.epoch:
		p.identity = nil // the broker is asked for the next ones
	}
	for _, waiting := range b.lane.retry {
		waiting.number = nil
	}
}

// refusedSequence takes a refusal of a batch's number. It returns whether the batch is to be sent
// again.
//
// It is the only one of its lane under way, so a partition that misses one before it has forgotten the
// producer; or the broker does not know yet that another one leads. In doubt the batch is sent again as
// it is: under a new number, one that the partition has already would be there twice.
func (p *Producer) refusedSequence(b *batch, e *Error) bool {
	if b.number == nil {
		return false
	}
	switch e.Reason {
	case ReasonProducerFenced:
		p.mu.Lock()
		if p.fenced == nil {
			p.fenced = e
		}
		p.mu.Unlock()
		return false
	case ReasonSequenceGap:
		p.client.topics.suspect(b.lane.topic)
		if !b.maybe {
			p.mu.Lock()
			p.restart(b)
			p.mu.Unlock()
			b.number = nil
		}
		return true
	}
	return false
}
