package ropewalk

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"sort"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// growthInterval is how often a reader that has reconnected looks for new partitions, where the broker
// does not add them by itself: see joining.
const growthInterval = 30 * time.Second

// reader is the receiving side of a consumer: one goroutine that keeps a stream open and fills
// fetches.
type reader struct {
	consumer *Consumer
	resumed  bool
	// joins is whether new partitions join the open stream by themselves.
	joins bool
	grown time.Time
	// broker is the one that the last stream went to directly, or anyBroker.
	broker uint64
	// address is where the broker of the stream is.
	address string
	// looked is when the stream was last compared with who leads.
	looked time.Time
}

// A subscription is one Subscribe call.
type subscription struct {
	rpc     pb.ConsumerService_SubscribeClient
	request *pb.SubscribeRequest
	// conn is the connection to the broker that leads most of it; nil: whichever answers.
	conn    *brokerConn
	address string
	ctx     context.Context
	cancel  context.CancelCauseFunc
}

// errReopen ends a stream that is to be opened again with more partitions.
var errReopen = errors.New("partitions were added")

// open starts a call and waits for its first event, no longer than the context allows. The call
// itself lives as long as the consumer. It goes over a connection, which it releases in the end; nil:
// to whichever broker answers.
func (r *reader) open(
	ctx context.Context, request *pb.SubscribeRequest, conn *brokerConn,
) (*subscription, error) {
	k := r.consumer
	s := &subscription{request: request, conn: conn}
	s.ctx, s.cancel = context.WithCancelCause(k.ctx)
	// The timer of the heartbeat watches here too: a broker that says nothing at all is no broker.
	unbind := context.AfterFunc(ctx, func() { s.cancel(context.Cause(ctx)) })
	defer unbind()
	event, err := s.start(k)
	if err == nil && !unbind() {
		err = contextError("subscribe", ctx, OutcomeNo)
	}
	if err == nil {
		err = r.started(event.other.GetStarted())
	}
	if err != nil {
		s.end(k, err)
		return nil, err
	}
	if conn != nil {
		s.address = conn.address
		k.client.brokers.worked(conn.id)
	} else {
		s.address = addressUnder(s.rpc)
	}
	return s, nil
}

// end ends the call. A broker that broke off is left alone for a while.
func (s *subscription) end(k *Consumer, err error) {
	s.cancel(nil)
	if s.conn == nil {
		return
	}
	if k.ctx.Err() == nil && isAboutLeaders(fromRPC("subscribe", err)) {
		k.client.brokers.failed(s.conn.id)
	}
	k.client.brokers.release(s.conn)
	s.conn = nil
}

func (s *subscription) start(k *Consumer) (*streamEvent, error) {
	var err error
	consumers := k.client.consumers
	if s.conn != nil {
		consumers = s.conn.consumers
	}
	if s.rpc, err = consumers.Subscribe(s.ctx, s.request, asEvents()); err != nil {
		return nil, err
	}
	event, err := s.receive(k)
	if err != nil {
		return nil, err
	}
	if event.other.GetStarted() == nil {
		return nil, newError("subscribe", ReasonInternal, codes.Internal, OutcomeNo,
			"the first event of the stream is not its start")
	}
	return event, nil
}

// receive waits for an event, but not for longer than three heartbeats.
func (s *subscription) receive(k *Consumer) (*streamEvent, error) {
	silence := 3 * k.config.heartbeat
	timer := time.AfterFunc(silence, func() {
		s.cancel(newError("subscribe", ReasonDisconnected, codes.Unavailable, OutcomeNo,
			"nothing heard from the broker for %v", silence))
	})
	defer timer.Stop()
	event, err := receiveEvent(s.rpc)
	if err == nil {
		return event, nil
	}
	var own *Error
	if !errors.Is(err, io.EOF) && errors.As(context.Cause(s.ctx), &own) {
		return nil, own
	}
	return nil, err
}

// run reads until the consumer is closed, every partition is at its stop, or reading cannot go on.
func (r *reader) run(s *subscription) {
	k := r.consumer
	failures := 0
	for {
		if s != nil {
			err := r.pump(s, &failures)
			if s = nil; r.ended(err, &failures) {
				return
			}
		}
		if failures > 0 && !sleep(k.ctx, k.config.backoff(failures)) {
			r.finish(closedError("consume", "consumer"))
			return
		}
		var err error
		r.broker = anyBroker
		if s, err = r.resume(); err != nil && r.ended(err, &failures) {
			return
		}
	}
}

// pump hands on events until the stream ends, or the one that took its place.
func (r *reader) pump(s *subscription, failures *int) (ended error) {
	defer func() {
		if r.broker = anyBroker; s.conn != nil {
			r.broker = s.conn.id
		}
		s.end(r.consumer, ended)
	}()
	for {
		event, err := s.receive(r.consumer)
		if err != nil {
			return err
		}
		*failures, r.address = 0, s.address
		if err := r.handle(event); err != nil {
			return err
		}
		if moved := r.moved(s); moved != nil {
			s.end(r.consumer, errReopen)
			s = moved
		}
		if r.resumed && !r.joins && time.Since(r.grown) > growthInterval {
			// An error shows on the stream itself, if it is one for it.
			if added, err := r.refresh(r.consumer.ctx); err == nil && added {
				return errReopen
			}
		}
	}
}

// ended decides what the end of a stream means; it reports true when the consumer ends with it.
func (r *reader) ended(err error, failures *int) bool {
	k := r.consumer
	switch {
	case k.ctx.Err() != nil:
		r.finish(closedError("consume", "consumer"))
		return true
	case errors.Is(err, errReopen):
		return false
	case errors.Is(err, io.EOF) && (k.config.stop.wire != nil || r.allFinished()):
		r.finish(io.EOF)
		return true
	case errors.Is(err, io.EOF):
		err = newError("consume", ReasonDisconnected, codes.Unavailable, OutcomeNo, "the broker ended the stream")
	}
	e := fromRPC("consume", err)
	if !e.Retriable() {
		r.finish(e)
		return true
	}
	*failures++
	k.client.hooks.streamBroken(StreamBroken{Kind: ConsumeStream, Failures: *failures, Err: e})
	k.client.log.Log(k.ctx, levelOf(*failures), "ropewalk: subscribe stream broke, reconnecting",
		"broker", r.broker, "failures", *failures, "error", e)
	if k.config.onError != nil {
		k.config.onError(e)
	}
	return false
}

func (r *reader) finish(err error) {
	r.consumer.final = err
	close(r.consumer.fetches)
}

// resume opens a stream that goes on where the last one ended.
func (r *reader) resume() (*subscription, error) {
	k := r.consumer
	ctx, cancel := context.WithTimeout(k.ctx, k.client.config.requestTimeout)
	defer cancel()
	request, err := r.resumption(ctx)
	if err != nil {
		return nil, err
	}
	return r.begin(ctx, request)
}

// resumption is a request that goes on where the stream is.
func (r *reader) resumption(ctx context.Context) (*pb.SubscribeRequest, error) {
	k := r.consumer
	r.resumed = true
	if _, err := r.refresh(ctx); err != nil {
		return nil, err
	}
	var partitions []partitionStart
	k.mu.Lock()
	for tp, s := range k.states {
		if !s.finished() {
			partitions = append(partitions, partitionStart{tp, StartOffset(s.next)})
		}
	}
	k.mu.Unlock()
	if len(partitions) == 0 {
		return nil, io.EOF
	}
	sort.Slice(partitions, func(i, j int) bool {
		a, b := partitions[i], partitions[j]
		return a.Topic < b.Topic || a.Topic == b.Topic && a.Partition < b.Partition
	})
	request := k.config.requestFor(partitions)
	r.joins = k.config.join(request)
	return request, nil
}

// refresh looks at the topics again. It learns of partitions that were added to topics that are read as
// a whole, which are read from their beginning, as the broker does it; and it fails when a topic is
// gone or another one has its name, to which no offset of the old one applies.
func (r *reader) refresh(ctx context.Context) (added bool, err error) {
	k := r.consumer
	r.grown = time.Now()
	ctx, cancel := context.WithTimeout(ctx, k.client.config.requestTimeout)
	defer cancel()
	for topic, id := range r.topics() {
		answer, err := k.client.admins.GetTopic(ctx, &pb.GetTopicRequest{Name: topic})
		if err != nil {
			return false, err
		}
		k.client.topics.learnLeaders(topic, answer)
		if found := answer.GetTopic().GetTopicId(); found != id {
			return false, replacedError(topic)
		}
		if !slices.Contains(k.config.topics, topic) {
			continue
		}
		k.mu.Lock()
		for partition := range answer.GetTopic().GetPartitionCount() {
			tp := TopicPartition{topic, partition}
			if k.states[tp] == nil {
				k.states[tp] = &partitionState{tp: tp, topicID: id}
				added = true
			}
		}
		k.mu.Unlock()
	}
	return added, nil
}

// topics returns the topics that are read, with their ids.
func (r *reader) topics() map[string]string {
	k := r.consumer
	k.mu.Lock()
	defer k.mu.Unlock()
	topics := map[string]string{}
	for tp, s := range k.states {
		topics[tp.Topic] = s.topicID
	}
	return topics
}

func replacedError(topic string) *Error {
	return newError("consume", ReasonTopicReplaced, codes.NotFound, OutcomeNo,
		"topic %s was deleted and created again while it was read", topic)
}

func (r *reader) allFinished() bool {
	k := r.consumer
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.states {
		if !s.finished() {
			return false
		}
	}
	return true
}

// started takes the partitions that a stream reads. Those that are known keep their place: the
// request named it, and a gap event tells when it could not be had.
func (r *reader) started(started *pb.Started) error {
	k := r.consumer
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range started.GetPositions() {
		tp := TopicPartition{p.GetTopic(), p.GetPartition()}
		s := k.states[tp]
		if s == nil {
			s = &partitionState{tp: tp, topicID: p.GetTopicId(), next: p.GetOffset()}
			s.delivered.Store(s.next)
			if k.config.stop.wire.GetCaughtUp() != nil {
				// Fixed here, so that a reconnect does not move the end.
				s.end, s.hasEnd = p.GetHighWatermark(), true
			} else if end, ok := k.config.stop.wire.GetEnd().(*pb.Stop_Offset); ok {
				s.end, s.hasEnd = end.Offset, true
			}
			k.states[tp] = s
		} else if s.topicID != p.GetTopicId() {
			return replacedError(tp.Topic)
		}
		s.heard(p)
	}
	return nil
}

func (r *reader) state(topic string, partition int32) *partitionState {
	k := r.consumer
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.states[TopicPartition{topic, partition}]
}

// handle takes one event. What a stream says of partitions that it did not start is ignored.
func (r *reader) handle(event *streamEvent) error {
	if event.batch != nil {
		return r.batch(event.batch)
	}
	switch e := event.other.GetEvent().(type) {
	case *pb.SubscribeResponse_Started:
		return r.started(e.Started)
	case *pb.SubscribeResponse_Heartbeat:
		for _, p := range e.Heartbeat.GetPositions() {
			if s := r.state(p.GetTopic(), p.GetPartition()); s != nil {
				s.heard(p)
			}
		}
	case *pb.SubscribeResponse_Gap:
		return r.gap(e.Gap)
	case *pb.SubscribeResponse_CaughtUp:
		if f := r.consumer.config.onCaughtUp; f != nil {
			f(TopicPartition{e.CaughtUp.GetTopic(), e.CaughtUp.GetPartition()}, e.CaughtUp.GetOffset())
		}
	}
	return nil
}

// batch hands on what a batch has of the records that are to come: a broker may begin before them,
// and after a reconnect its own end lies behind ours.
func (r *reader) batch(b *receivedBatch) error {
	s := r.state(b.topic, b.partition)
	if s == nil || b.count == 0 || b.end() <= s.next {
		return nil
	}
	r.consumer.client.topics.appended(b.topic, b.partition, b.epoch)
	f := fetch{state: s, batch: b, from: s.next, to: math.MaxInt64, address: r.address}
	if s.hasEnd {
		f.to = s.end
	}
	s.next = b.end()
	s.highWatermark.Store(max(s.next, s.highWatermark.Load()))
	if b.offset(0) < f.to {
		if err := r.hand(f); err != nil {
			return err
		}
	}
	if s.finished() && r.resumed && r.allFinished() {
		return io.EOF
	}
	return nil
}

func (r *reader) gap(g *pb.Gap) error {
	s := r.state(g.GetTopic(), g.GetPartition())
	if s == nil || g.GetToOffset() <= s.next {
		return nil
	}
	gap := &Gap{TopicPartition: s.tp, From: max(g.GetFromOffset(), s.next), To: g.GetToOffset()}
	s.next = gap.To
	r.consumer.client.log.Warn("ropewalk: records were deleted before they were read",
		"topic", gap.Topic, "partition", gap.Partition, "from", gap.From, "to", gap.To)
	return r.hand(fetch{state: s, gap: gap})
}

// hand waits for room, which is what slows the broker down when nobody reads.
func (r *reader) hand(f fetch) error {
	k := r.consumer
	select {
	case k.fetches <- f:
		return nil
	case <-k.ctx.Done():
		return closedError("consume", "consumer")
	}
}
