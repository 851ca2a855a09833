package ropewalk

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// groupStream is one Subscribe call. One goroutine receives, and holds one event at most.
type groupStream struct {
	events  chan *streamEvent
	started *pb.Started
	err     error
	cancel  context.CancelFunc
	address string
	// asked is where it was asked to go on, until its first assignment has come.
	asked map[TopicPartition]int64
	// part is what has come of an assignment that takes several messages.
	part *pb.Assignment
}

// openedStream is what became of a stream that was to be opened.
type openedStream struct {
	stream *groupStream
	err    error
}

// groupEvent is an event of a partition that was read ahead: a batch, to be read from an offset, or a
// gap.
type groupEvent struct {
	tp    TopicPartition
	era   era
	batch *receivedBatch
	from  int64
	gap   *Gap
	bytes int
}

// broken decides what the end of a stream means, or that of an attempt to open one.
func (g *GroupConsumer) broken(ctx context.Context, err error) error {
	if errors.Is(err, io.EOF) {
		err = newError("consume", ReasonDisconnected, codes.Unavailable, OutcomeNo,
			"the broker ended the stream")
	}
	e := fromRPC("consume", err)
	g.retire()
	switch {
	case g.ctx.Err() != nil:
		return closedError("consume", "consumer")
	case e.InstanceTaken():
		// Whoever joined anew would take the name back, and be fenced in turn.
		_ = g.fail(e)
		g.fenced(ctx)
		return e
	case errors.Is(e, ReasonMemberFenced):
		g.fenced(ctx)
	case !e.Retriable():
		g.leave()
		g.tellLeft()
		return g.fail(e)
	}
	g.failures++
	g.client.hooks.streamBroken(StreamBroken{
		Kind: GroupStream, Group: g.group, Failures: g.failures, Err: e,
	})
	g.client.log.Log(g.ctx, levelOf(g.failures), "ropewalk: a member of a group reconnects",
		"group", g.group, "failures", g.failures, "error", e)
	return nil
}

// fenced has the member be none any more.
func (g *GroupConsumer) fenced(ctx context.Context) {
	g.leave()
	g.releasing = nil
	g.mu.Lock()
	memberID := g.has.memberID
	lost := g.has.end()
	g.joinedAs = ""
	if g.final != nil {
		g.has.memberID = memberID // nobody joins anew with it
	}
	g.mu.Unlock()
	g.client.hooks.groupChanged(g.group, memberID, groupChanges{lost: lost})
	g.tell(ctx, g.config.onLost, lost)
}

// fail ends the consumer with an error.
func (g *GroupConsumer) fail(e *Error) *Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.final = e
	return e
}

func silentError(d time.Duration) *Error {
	return newError("consume", ReasonDisconnected, codes.Unavailable, OutcomeNo,
		"nothing heard from the broker for %v", d)
}

// retire has another stream opened. What was read ahead is dropped: so the next one goes on with a
// partition only where the group was left by this member. If another one had it in between and has read
// what was read ahead here, it begins anew there, with nothing of before.
//
// The stream itself stays open until then, as one that is closed leaves the group.
func (g *GroupConsumer) retire() {
	if g.stream != nil {
		g.leave()
		g.former, g.stream = g.stream, nil
	}
	g.current, g.opened, g.ahead, g.aheadBytes = nil, openedBatch{}, nil, 0
	g.mu.Lock()
	defer g.mu.Unlock()
	g.has.rewind()
	g.changed = false
}

// leave closes the stream before.
func (g *GroupConsumer) leave() {
	if g.former != nil {
		g.former.cancel()
		g.former = nil
	}
}

// tellLeft tells of what a member has that leaves for good.
func (g *GroupConsumer) tellLeft() {
	g.mu.Lock()
	memberID, held := g.has.memberID, g.has.leave()
	g.mu.Unlock()
	g.client.hooks.groupLeft(g.group, memberID, held)
}

// tell runs a handler, if there is something to tell.
func (g *GroupConsumer) tell(
	ctx context.Context, f func(context.Context, []Position), positions []Position,
) {
	if len(positions) > 0 {
		g.run(ctx, f, positions)
	}
}

// run runs a handler. Its context is not cut short by that of the call which happens to run it: a commit
// that is not finished could not be made up for, as the partition is gone by then.
func (g *GroupConsumer) run(
	ctx context.Context, f func(context.Context, []Position), positions []Position,
) {
	if f == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.client.config.requestTimeout)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	f(ctx, positions)
}

// reopen joins again after the stream was lost or is out of date. The opening goes on when the context
// ends: a call that is given up could have joined, and would leave.
func (g *GroupConsumer) reopen(ctx context.Context) error {
	if g.opening == nil {
		opening, failures := make(chan openedStream, 1), g.failures
		opens := g.spawn(func() {
			if failures > 0 && !sleep(g.ctx, g.config.backoff(failures)) {
				opening <- openedStream{nil, g.ctx.Err()}
				return
			}
			limit, cancel := context.WithTimeout(g.ctx, g.client.config.requestTimeout)
			defer cancel()
			stream, err := g.open(limit)
			opening <- openedStream{stream, err}
		})
		if !opens {
			return closedError("consume", "consumer")
		}
		g.opening = opening
	}
	select {
	case opened := <-g.opening:
		g.opening = nil
		if opened.err != nil {
			return g.broken(ctx, opened.err)
		}
		g.begin(opened.stream)
		return nil
	case <-ctx.Done():
		return contextError("consume", ctx, OutcomeNo)
	case <-g.ctx.Done():
		return closedError("consume", "consumer")
	}
}

// begin has a stream take the place of the one before.
func (g *GroupConsumer) begin(s *groupStream) {
	g.mu.Lock()
	g.has.begin(s.started.GetMemberId(), s.started.GetGeneration())
	g.mu.Unlock()
	g.stream, g.address = s, s.address
	g.leave()
	g.commitAt = time.Now().Add(g.config.autoCommit)
}

// open starts a stream of the member and waits for its first event. The stream lives as long as the
// consumer.
func (g *GroupConsumer) open(ctx context.Context) (*groupStream, error) {
	streamCtx, cancel := context.WithCancel(g.ctx)
	unbind := context.AfterFunc(ctx, cancel)
	request := g.request()
	rpc, err := g.client.consumers.Subscribe(streamCtx, request, asEvents())
	var event *streamEvent
	if err == nil {
		event, err = receiveEvent(rpc)
	}
	if !unbind() && err == nil {
		// It came too late for whoever waited; the next try is not.
		err = newError("join group", ReasonTimedOut, codes.DeadlineExceeded, OutcomeMaybe,
			"the group was joined when the time for it was over")
	}
	if err == nil && event.other.GetStarted() == nil {
		err = newError("join group", ReasonInternal, codes.Internal, OutcomeNo,
			"the first event of the stream is not its start")
	}
	if err != nil {
		cancel()
		return nil, err
	}
	s := &groupStream{
		events: make(chan *streamEvent), started: event.other.GetStarted(), cancel: cancel,
		asked: map[TopicPartition]int64{}, address: addressUnder(rpc),
	}
	for _, p := range request.GetMember().GetPositions() {
		s.asked[TopicPartition{p.GetTopic(), p.GetPartition()}] = p.GetOffset()
	}
	g.noteJoined(s)
	receives := g.spawn(func() {
		defer close(s.events)
		for {
			event, err := receiveEvent(rpc)
			if err != nil {
				s.err = err
				g.noteEnd(s, err)
				return
			}
			select {
			case s.events <- event:
			case <-streamCtx.Done():
				s.err = streamCtx.Err()
				return
			}
		}
	})
	if !receives {
		cancel()
		return nil, closedError("join group", "consumer")
	}
	return s, nil
}

func (g *GroupConsumer) request() *pb.SubscribeRequest {
	c := &g.config
	r := &pb.SubscribeRequest{
		Group:                g.group,
		DefaultStart:         c.start.wire,
		MaxBatchBytes:        int32(c.fetchBytes),
		HeartbeatInterval:    durationpb.New(c.heartbeat),
		InFlightLimit:        c.inFlight,
		AcceptedCompressions: accepted(),
		AssignmentsOnly:      c.assignmentsOnly,
		Member:               g.member(),
	}
	for _, topic := range c.topics {
		r.Topics = append(r.Topics, &pb.TopicSelection{
			Selection: &pb.TopicSelection_Name{Name: topic},
		})
	}
	for _, pattern := range c.patterns {
		r.Topics = append(r.Topics, &pb.TopicSelection{
			Selection: &pb.TopicSelection_Pattern{Pattern: pattern},
		})
	}
	return r
}

// handle takes one event.
func (g *GroupConsumer) handle(ctx context.Context, event *streamEvent) error {
	if b := event.batch; b != nil {
		tp := TopicPartition{b.topic, b.partition}
		g.queue(tp, b.end(), groupEvent{batch: b, bytes: len(b.data)})
		return nil
	}
	switch e := event.other.GetEvent().(type) {
	case *pb.SubscribeResponse_Assignment:
		return g.assigned(ctx, e.Assignment)
	case *pb.SubscribeResponse_Gap:
		tp := TopicPartition{e.Gap.GetTopic(), e.Gap.GetPartition()}
		gap := &Gap{TopicPartition: tp, From: e.Gap.GetFromOffset(), To: e.Gap.GetToOffset()}
		g.queue(tp, gap.To, groupEvent{gap: gap, bytes: proto.Size(e.Gap)})
	case *pb.SubscribeResponse_Heartbeat:
		g.mu.Lock()
		g.has.heard(e.Heartbeat.GetPositions())
		g.mu.Unlock()
	case *pb.SubscribeResponse_PlanRequest:
		g.plan(e.PlanRequest)
	}
	return nil
}

// queue has an event wait for its turn; next is where the stream goes on behind it.
func (g *GroupConsumer) queue(tp TopicPartition, next int64, event groupEvent) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.has.held[tp]
	// What comes after a change is of the stream before it.
	if h == nil || h.standing != heldKept || g.changed || next <= h.next {
		return
	}
	event.tp, event.era, event.from = tp, h.era, h.next
	h.next = next
	h.highWatermark = max(h.highWatermark, next)
	g.ahead = append(g.ahead, event)
	g.aheadBytes += event.bytes
}

func (g *GroupConsumer) tellGap(gap *Gap) error {
	g.client.hooks.gapFound(g.group, gap)
	if g.config.onGap != nil {
		g.config.onGap(*gap)
		return nil
	}
	e := newError("consume", ReasonGap, codes.OutOfRange, OutcomeNo, "%v", gap)
	e.cause = gap
	return e
}

// assigned takes a change to what the member has. What is revoked is given back once it is told:
// everything that was handed out is done by now.
func (g *GroupConsumer) assigned(ctx context.Context, a *pb.Assignment) error {
	if part := g.stream.part; part != nil {
		a.Ended = append(part.GetEnded(), a.GetEnded()...)
		a.Assigned = append(part.GetAssigned(), a.GetAssigned()...)
		a.Revoked = append(part.GetRevoked(), a.GetRevoked()...)
	}
	if g.stream.part = nil; a.GetMore() {
		g.stream.part = a
		return nil
	}
	asked := g.stream.asked
	g.stream.asked = nil
	g.mu.Lock()
	changes := g.has.apply(a, asked)
	g.mu.Unlock()
	g.client.hooks.groupChanged(g.group, g.MemberID(), changes)
	g.tell(ctx, g.config.onLost, changes.lost)
	if g.config.assignmentsOnly && asked != nil && len(changes.fresh) == 0 {
		g.run(ctx, g.config.onAssigned, nil)
	}
	g.tell(ctx, g.config.onAssigned, changes.fresh)
	g.tell(ctx, g.config.onRevoked, changes.revoked)
	if g.config.assignmentsOnly {
		return nil
	}
	g.releasing = append(g.releasing, changes.revoked...)
	return g.settle(ctx)
}
