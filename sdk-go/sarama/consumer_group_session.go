package sarama

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// errRevoked is why a claim ends whose session goes on.
var errRevoked = errors.New("kafka: partition revoked by rebalance")

// groupSession is one run of a handler over what the member has.
type groupSession struct {
	group   *consumerGroup
	member  *groupMember
	handler ConsumerGroupHandler

	memberID   string
	generation atomic.Int32

	ctx    context.Context
	cancel context.CancelCauseFunc
	// running are the ConsumeClaims, and committer what commits from time to time.
	running   sync.WaitGroup
	committer sync.WaitGroup
	// committing keeps commits in their order. It guards over: nothing is committed any more.
	committing sync.Mutex
	over       bool

	mu     sync.Mutex
	claims map[ropewalk.TopicPartition]*claimed
}

// claimed is a partition of a session.
type claimed struct {
	place ropewalk.TopicPartition
	owned *ownedPartition
	marks marks

	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{}
}

func newGroupSession(
	ctx context.Context, member *groupMember, handler ConsumerGroupHandler,
) *groupSession {
	s := &groupSession{
		group: member.group, member: member, handler: handler, memberID: member.id,
		claims: map[ropewalk.TopicPartition]*claimed{},
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	return s
}

// run runs the handler until the session is to end.
func (s *groupSession) run() error {
	owned, changed := s.member.take()
	defer s.member.endSession()
	fresh := s.add(owned)
	if err := s.handler.Setup(s); err != nil {
		s.end() // the error that counts is there
		return err
	}
	ended := make(chan struct{})
	if s.group.config.Consumer.Offsets.AutoCommit.Enable {
		s.committer.Go(func() { withRecover(func() { s.commitOften(ended) }) })
	}
	s.start(fresh)
	s.follow(changed)
	s.cancel(nil)
	s.running.Wait()
	close(ended)
	s.committer.Wait()
	return s.end()
}

// end runs Cleanup and commits for the last time.
func (s *groupSession) end() error {
	s.cancel(nil)
	err := s.handler.Cleanup(s)
	if err != nil {
		s.group.report(err, "", 0)
	}
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.claims))
	s.mu.Unlock()
	s.commitLast(all)
	s.committing.Lock()
	defer s.committing.Unlock()
	s.over = true
	return err
}

// add claims partitions.
func (s *groupSession) add(owned map[ropewalk.TopicPartition]*ownedPartition) []*claimed {
	s.generation.Store(int32(s.member.core.Generation()))
	var fresh []*claimed
	s.mu.Lock()
	for tp, o := range owned {
		c := &claimed{place: tp, owned: o, done: make(chan struct{})}
		c.marks.offset = s.member.next(o)
		c.ctx, c.cancel = context.WithCancelCause(s.ctx)
		s.claims[tp] = c
		fresh = append(fresh, c)
	}
	s.mu.Unlock()
	s.member.tellStrategy(s.Claims(), s.GenerationID())
	return fresh
}

// start runs ConsumeClaim of each. The session ends when one returns, unless its partition is to
// go.
func (s *groupSession) start(claims []*claimed) {
	for _, c := range claims {
		s.running.Go(func() {
			defer close(c.done)
			defer func() {
				if !errors.Is(context.Cause(c.ctx), errRevoked) {
					s.cancel(ErrSessionConsumeClaimExited)
				}
				c.cancel(nil)
			}()
			withRecover(func() { s.consume(c) })
		})
	}
}

// follow waits until the session is to end. With an eager strategy that is when anything moves.
func (s *groupSession) follow(changed <-chan struct{}) {
	for {
		select {
		case <-changed:
		case <-s.ctx.Done():
			return
		}
		var gone []*claimed
		var fresh map[ropewalk.TopicPartition]*ownedPartition
		var ended error
		gone, fresh, changed, ended = s.member.compare(s.claims)
		// What came and went in between is nobody's claim: it would be waited for until its
		// deadline.
		s.member.give(s.claims)
		memberID := s.member.core.MemberID()
		switch {
		case ended != nil:
			cause := ErrSessionHeartbeatFailed
			if isFenced(ended) {
				cause = ErrFencedInstancedId
			}
			s.group.report(mapError(ended), "", 0)
			s.cancel(cause)
			return
		case memberID != "" && memberID != s.memberID:
			// The group has lost the member and taken it again, as another one.
			s.cancel(ErrRebalanceInProgress)
			return
		case len(gone)+len(fresh) == 0:
		case !s.group.cooperative:
			s.cancel(ErrRebalanceInProgress)
			return
		default:
			if err := s.reconcile(gone); err != nil {
				s.group.report(err, "", 0)
				s.cancel(err)
				return
			}
		}
	}
}

// reconcile has claims end whose partitions go, and others begin, while the rest goes on.
func (s *groupSession) reconcile(gone []*claimed) error {
	for _, c := range gone {
		c.cancel(errRevoked)
	}
	limit := time.NewTimer(s.group.config.Consumer.Group.Rebalance.Timeout)
	defer limit.Stop()
	for _, c := range gone {
		select {
		case <-c.done:
		case <-limit.C:
			return ErrRebalanceTimedOut
		}
	}
	s.commitLast(gone)
	s.mu.Lock()
	for _, c := range gone {
		delete(s.claims, c.place)
	}
	s.mu.Unlock()
	s.member.give(s.claims)
	// Some of what was new may have been revoked while the claims ended, and is given back by now.
	_, fresh, _, _ := s.member.compare(s.claims)
	s.start(s.add(fresh))
	return nil
}

// commitOften commits from time to time.
func (s *groupSession) commitOften(ended <-chan struct{}) {
	ticker := time.NewTicker(s.group.config.Consumer.Offsets.AutoCommit.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.Commit()
		case <-ended:
			return
		}
	}
}

// commitLast commits claims that are over, if that is done by itself. All tries together take no
// longer than one call may.
func (s *groupSession) commitLast(claims []*claimed) {
	offsets := &s.group.config.Consumer.Offsets
	ctx, cancel := context.WithTimeout(context.Background(), s.group.config.Net.ReadTimeout)
	defer cancel()
	for attempt := 0; offsets.AutoCommit.Enable && attempt <= offsets.Retry.Max; attempt++ {
		if attempt > 0 && !wait(ctx, commitPause) {
			return
		}
		if s.commit(ctx, claims) == 0 {
			return
		}
	}
}

// commit commits what is marked of claims. It returns how many can be tried again.
func (s *groupSession) commit(ctx context.Context, claims []*claimed) int {
	s.committing.Lock()
	defer s.committing.Unlock()
	if s.over {
		return 0
	}
	var offsets []ropewalk.CommittedOffset
	var of []*claimed
	for _, c := range claims {
		offset, metadata, dirty := c.marks.toCommit()
		if !dirty {
			continue
		}
		// It counts for as long as the partition has been the member's.
		position := c.owned.position
		position.Offset = offset
		o := position.ToCommit()
		o.Metadata = metadata
		if s.member.isLost(c.owned) { // it would have all of them refused
			s.giveUp(c, o, ErrIllegalGeneration)
			continue
		}
		offsets, of = append(offsets, o), append(of, c)
	}
	left := 0
	for i, result := range s.member.commit(ctx, offsets, of) {
		switch err := result.Err; {
		case err == nil:
			of[i].marks.committed(offsets[i])
		case errors.Is(err, ropewalk.ReasonMemberFenced) && (result.Alone || !isOfOne(err)):
			s.giveUp(of[i], offsets[i], mapError(err))
		default:
			left++
			s.group.report(mapError(err), offsets[i].Topic, offsets[i].Partition)
		}
	}
	return left
}

// giveUp has an offset not be committed any more: whoever has the partition now reads on from what
// was committed before.
func (s *groupSession) giveUp(c *claimed, o ropewalk.CommittedOffset, err error) {
	c.marks.committed(o)
	s.group.report(err, o.Topic, o.Partition)
}

func (s *groupSession) Commit() {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.claims))
	s.mu.Unlock()
	s.commit(context.Background(), all)
}

func (s *groupSession) Claims() map[string][]int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return topicsOf(slices.Collect(maps.Keys(s.claims)))
}

func (s *groupSession) MemberID() string         { return s.memberID }
func (s *groupSession) GenerationID() int32      { return s.generation.Load() }
func (s *groupSession) Context() context.Context { return s.ctx }

// claim is nil for a partition that the session does not have.
func (s *groupSession) claim(topic string, partition int32) *claimed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims[ropewalk.TopicPartition{Topic: topic, Partition: partition}]
}

func (s *groupSession) MarkOffset(topic string, partition int32, offset int64, metadata string) {
	if c := s.claim(topic, partition); c != nil {
		c.marks.mark(offset, metadata)
	}
}

func (s *groupSession) ResetOffset(topic string, partition int32, offset int64, metadata string) {
	if c := s.claim(topic, partition); c != nil {
		c.marks.reset(offset, metadata)
	}
}

func (s *groupSession) MarkMessage(msg *ConsumerMessage, metadata string) {
	s.MarkOffset(msg.Topic, msg.Partition, msg.Offset+1, metadata)
}
