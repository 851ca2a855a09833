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

// epochsOfAHolder is how many epochs of its id each holder of a name has: the one that it is given,
// and those after it.
const epochsOfAHolder = 1 << 16

// A numbering is where the numbers of a lane's batches stand, by which the broker knows one again
// that comes twice. The broker takes a batch only when it holds the one before it. So when one is
// given up, or the partition has forgotten the producer, the numbers begin anew: at 0, in a new
// epoch, which ends the one before. What was sent in that one and comes late is refused then.
// Guarded by the producer's lock.
type numbering struct {
	identity *identity
	next     uint32
	// ended: they begin anew once nothing is under way.
	ended bool
	// nothingFrom is the order of a batch that was given up and surely was not appended; 0: none.
	// Then none behind it was either, under these numbers, whatever became of its answer.
	nothingFrom uint64
}

// number gives a batch its number, unless it has one. It may have to ask the broker for an id
// first; only the sender calls it.
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
	answer, err := callOfChild(ctx, p.client, "init producer", true,
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

// endNumbers has the numbers of a lane begin anew, if the batch was numbered since they did last.
// The caller holds the lock.
func (p *Producer) endNumbers(b *batch) {
	n := &b.lane.numbers
	if b.number != nil && n.identity != nil &&
		b.number.GetProducerId() == n.identity.id && b.number.GetEpoch() == n.identity.epoch {
		n.ended = true
		if !b.maybe && (n.nothingFrom == 0 || b.order < n.nothingFrom) {
			n.nothingFrom = b.order
		}
	}
}

// renumber begins the numbers of a lane anew, of which nothing is under way. What is to be sent
// again gets others, but for what may have been appended under the ones it has: that is returned.
// The caller holds the lock.
func (p *Producer) renumber(l *lane) (lost []*batch) {
	own, nothingFrom := *l.numbers.identity, l.numbers.nothingFrom
	l.numbers = numbering{}
	switch {
	case own.epoch+1 != 0 && (p.config.name == "" || (own.epoch+1)%epochsOfAHolder != 0):
		// This epoch is our own too: to ask for one would take a name back from whoever has it since.
		l.numbers.identity = &identity{id: own.id, epoch: own.epoch + 1}
	case p.identity != nil && p.identity.id == own.id && p.identity.epoch <= own.epoch:
		p.identity = nil // the broker is asked for the next ones
	}
	var kept []*batch
	for _, waiting := range l.retry {
		if waiting.maybe && (nothingFrom == 0 || waiting.order < nothingFrom) {
			lost = append(lost, waiting)
			continue
		}
		waiting.number, waiting.maybe = nil, false
		kept = append(kept, waiting)
	}
	l.retry = kept
	return lost
}

// A sequenceRefusal is what is to be done about a refusal of a batch's number.
type sequenceRefusal int

const (
	// itsOwnFault: nothing but what the error says.
	itsOwnFault sequenceRefusal = iota
	// sendAgain, after a pause, as one of its tries.
	sendAgain
	// ofAnother: the batch is not to blame. It is sent again behind those before it.
	ofAnother
)

// refusedSequence takes a refusal of a batch's number.
//
// A partition that misses one before it does so because that was refused: it is sent again first,
// or the numbers begin anew. If there is none before it, the partition has forgotten the producer,
// or the broker does not know yet that another one leads. In doubt the batch is sent again as it
// is: under a new number, one that the partition has already would be there twice.
func (p *Producer) refusedSequence(b *batch, e *Error) sequenceRefusal {
	if b.number == nil {
		return itsOwnFault
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e.Reason {
	case ReasonProducerFenced:
		if p.fenced == nil {
			p.fenced = e
		}
	case ReasonSequenceGap:
		if !b.lane.isOldest(b) || b.lane.numbers.ended {
			return ofAnother
		}
		p.client.topics.suspect(b.lane.topic)
		if !b.maybe {
			p.endNumbers(b)
		}
		return sendAgain
	}
	return itsOwnFault
}
