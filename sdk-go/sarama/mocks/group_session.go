package mocks

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// GroupSession is a session that a mock ConsumerGroup expects, and the sarama.ConsumerGroupSession
// that its handler gets. It ends as a real one does: when a ConsumeClaim returns, with End, with
// the context of Consume, and when the group is closed.
type GroupSession struct {
	group *ConsumerGroup
	err   error // of a Consume that fails

	endOnce sync.Once
	ended   chan struct{}

	mu         sync.Mutex
	claimed    []*PartitionConsumer
	generation int32
	ctx        context.Context
	marked     groupOffsets
	expected   groupOffsets
	toTheEnd   bool
}

// ExpectClaim has the session claim a partition, from an offset, and returns its consumer, to say
// what that yields; more can be yielded while the session runs.
func (s *GroupSession) ExpectClaim(
	topic string, partition int32, offset int64,
) *PartitionConsumer {
	claim := newPartitionConsumer(
		s.group.t, topic, partition, offset, s.group.config.ChannelBufferSize)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed = append(s.claimed, claim)
	return claim
}

// ExpectMarked expects an offset to be marked when the session ends: that of the next message to
// read.
func (s *GroupSession) ExpectMarked(topic string, partition int32, offset int64) *GroupSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected[groupPlace{topic, partition}] = groupOffset{offset: offset}
	return s
}

// EndAfterMessages has the session end when its claims have read what was yielded before it began.
func (s *GroupSession) EndAfterMessages() *GroupSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.toTheEnd = true
	return s
}

// End ends the session, as when partitions move to another member. Consume then returns nil, unless
// Cleanup fails.
func (s *GroupSession) End() { s.endOnce.Do(func() { close(s.ended) }) }

// Marked returns what is marked of a partition, and whether something is.
func (s *GroupSession) Marked(
	topic string, partition int32,
) (offset int64, metadata string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.marked[groupPlace{topic, partition}]
	return found.offset, found.metadata, ok
}

func (s *GroupSession) list() []*PartitionConsumer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.claimed)
}

// run is a session from its beginning to its end.
func (s *GroupSession) run(
	parent context.Context, topics []string, handler sarama.ConsumerGroupHandler,
) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	s.mu.Lock()
	s.ctx = ctx
	toTheEnd := s.toTheEnd
	s.mu.Unlock()
	claims := s.list()
	for _, claim := range claims {
		claim.start()
		if !slices.Contains(topics, claim.topic) {
			s.group.t.Errorf("A claim of %s is expected, but Consume names %v.", claim.topic, topics)
		}
	}
	failure := handler.Setup(s)
	if failure == nil {
		s.consume(ctx, cancel, claims, handler, toTheEnd)
	}
	cancel()
	if err := handler.Cleanup(s); err != nil {
		s.group.report(err)
		if failure == nil {
			failure = err
		}
	}
	if s.group.config.Consumer.Offsets.AutoCommit.Enable {
		s.Commit()
	}
	s.finish(claims)
	return failure
}

// consume runs the handler for each claim until the session is to end, and all have returned.
func (s *GroupSession) consume(
	ctx context.Context, cancel func(), claims []*PartitionConsumer,
	handler sarama.ConsumerGroupHandler, toTheEnd bool,
) {
	var reading, telling sync.WaitGroup
	for _, claim := range claims {
		telling.Go(func() {
			for err := range claim.Errors() {
				s.group.report(err)
			}
		})
		if toTheEnd {
			claim.AsyncClose()
		}
		reading.Go(func() {
			if err := handler.ConsumeClaim(s, groupClaim{claim}); err != nil {
				s.group.report(&sarama.ConsumerError{
					Topic: claim.topic, Partition: claim.partition, Err: err,
				})
			}
			if !toTheEnd {
				cancel()
			}
		})
	}
	if toTheEnd {
		go func() {
			reading.Wait()
			cancel()
		}()
	}
	select {
	case <-ctx.Done():
	case <-s.ended:
	case <-s.group.closing:
	}
	cancel()
	for _, claim := range claims {
		claim.AsyncClose()
	}
	reading.Wait()
	telling.Wait()
}

// finish reports what is not as expected.
func (s *GroupSession) finish(claims []*PartitionConsumer) {
	for _, claim := range claims {
		_ = claim.Close() // its errors were told, and nothing else comes of it but reports
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for place, want := range s.expected {
		got, ok := s.marked[place]
		switch {
		case !ok:
			s.group.t.Errorf("Expected offset %d of %s/%d to be marked, but nothing is.",
				want.offset, place.topic, place.partition)
		case got.offset != want.offset:
			s.group.t.Errorf("Expected offset %d of %s/%d to be marked, but %d is.",
				want.offset, place.topic, place.partition, got.offset)
		}
	}
}

// Claims returns the partitions of the session.
func (s *GroupSession) Claims() map[string][]int32 {
	claims := map[string][]int32{}
	for _, claim := range s.list() {
		claims[claim.topic] = append(claims[claim.topic], claim.partition)
	}
	return claims
}

// MemberID returns mock-member.
func (s *GroupSession) MemberID() string { return "mock-member" }

// GenerationID counts the sessions of the group, from 1.
func (s *GroupSession) GenerationID() int32 { return s.generation }

// Context is done when the session is to end.
func (s *GroupSession) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ctx
}

// MarkOffset marks an offset, if it is higher than the one that is marked.
func (s *GroupSession) MarkOffset(topic string, partition int32, offset int64, metadata string) {
	s.mark(topic, partition, offset, metadata, func(marked int64) bool { return offset > marked })
}

// ResetOffset marks an offset, if it is not higher than the one that is marked.
func (s *GroupSession) ResetOffset(topic string, partition int32, offset int64, metadata string) {
	s.mark(topic, partition, offset, metadata, func(marked int64) bool { return offset <= marked })
}

func (s *GroupSession) mark(
	topic string, partition int32, offset int64, metadata string, moves func(marked int64) bool,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	place := groupPlace{topic, partition}
	if marked, ok := s.marked[place]; !ok || moves(marked.offset) {
		s.marked[place] = groupOffset{offset, metadata}
	}
}

// MarkMessage marks the offset after a message.
func (s *GroupSession) MarkMessage(msg *sarama.ConsumerMessage, metadata string) {
	s.MarkOffset(msg.Topic, msg.Partition, msg.Offset+1, metadata)
}

// Commit commits what is marked: the group's Committed tells it.
func (s *GroupSession) Commit() {
	s.mu.Lock()
	marked := maps.Clone(s.marked)
	s.mu.Unlock()
	s.group.commit(marked)
}

// groupClaim is a partition consumer as a claim.
type groupClaim struct{ consumer *PartitionConsumer }

func (c groupClaim) Topic() string { return c.consumer.topic }

func (c groupClaim) Partition() int32 { return c.consumer.partition }

func (c groupClaim) InitialOffset() int64 { return c.consumer.offset }

func (c groupClaim) HighWaterMarkOffset() int64 { return c.consumer.HighWaterMarkOffset() }

func (c groupClaim) Messages() <-chan *sarama.ConsumerMessage { return c.consumer.messages }
