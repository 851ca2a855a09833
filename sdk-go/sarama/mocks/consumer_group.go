package mocks

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// ConsumerGroup is a sarama.ConsumerGroup whose sessions it was told to expect: each call of
// Consume runs the next one. When there is none left, Consume waits, as a member does that has
// nothing to read: so the usual loop around it ends with its context, or with Close. It must be
// closed.
type ConsumerGroup struct {
	t      ErrorReporter
	config *sarama.Config
	errors chan error
	// consuming is held by Consume: one session runs at a time.
	consuming sync.Mutex
	closeOnce sync.Once
	closing   chan struct{}

	mu         sync.Mutex
	closed     bool
	expected   []*GroupSession
	more       chan struct{} // closed when a session is added
	running    *GroupSession
	generation int32
	committed  groupOffsets
}

// NewConsumerGroup makes a mock. What is not as expected is reported to t, usually the *testing.T
// of the test. A nil config stands for the defaults; another one is validated, and says whether
// errors are returned and offsets are committed by themselves, at the end of each session.
func NewConsumerGroup(t ErrorReporter, config *sarama.Config) *ConsumerGroup {
	config = checked(t, config)
	return &ConsumerGroup{
		t: t, config: config,
		errors:    make(chan error, config.ChannelBufferSize),
		closing:   make(chan struct{}),
		more:      make(chan struct{}),
		committed: groupOffsets{},
	}
}

// ExpectSession expects a session, and returns it, to say what it claims.
func (g *ConsumerGroup) ExpectSession() *GroupSession {
	s := &GroupSession{
		group: g, ended: make(chan struct{}), marked: groupOffsets{}, expected: groupOffsets{},
	}
	g.add(s)
	return s
}

// ExpectConsumeAndFail expects a call of Consume that fails.
func (g *ConsumerGroup) ExpectConsumeAndFail(err error) *ConsumerGroup {
	g.add(&GroupSession{group: g, err: err})
	return g
}

func (g *ConsumerGroup) add(s *GroupSession) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expected = append(g.expected, s)
	close(g.more)
	g.more = make(chan struct{})
}

// next waits for a session that is expected; nil when the group is closed or the context ends.
func (g *ConsumerGroup) next(ctx context.Context) *GroupSession {
	for {
		g.mu.Lock()
		more := g.more
		if len(g.expected) > 0 && !g.closed && ctx.Err() == nil {
			s := g.expected[0]
			g.expected = g.expected[1:]
			if s.err == nil {
				g.generation++
				s.generation, g.running = g.generation, s
			}
			g.mu.Unlock()
			return s
		}
		g.mu.Unlock()
		select {
		case <-more:
		case <-g.closing:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// Consume runs the next session that is expected.
func (g *ConsumerGroup) Consume(
	ctx context.Context, topics []string, handler sarama.ConsumerGroupHandler,
) error {
	if len(topics) == 0 {
		return errors.New("no topics provided")
	}
	g.consuming.Lock()
	defer g.consuming.Unlock()
	s := g.next(ctx)
	switch {
	case s == nil && ctx.Err() != nil && !g.isClosed():
		return nil
	case s == nil:
		return sarama.ErrClosedConsumerGroup
	case s.err != nil:
		return s.err
	}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.running = nil
	}()
	return s.run(ctx, topics, handler)
}

func (g *ConsumerGroup) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// Errors is the channel of errors, if the config has Consumer.Return.Errors: those that
// ConsumeClaim and Cleanup return, and what YieldError yields. Others are logged.
func (g *ConsumerGroup) Errors() <-chan error { return g.errors }

// YieldError has the group tell of an error.
func (g *ConsumerGroup) YieldError(err error) *ConsumerGroup {
	g.report(err)
	return g
}

func (g *ConsumerGroup) report(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed && g.running == nil || !g.config.Consumer.Return.Errors {
		sarama.Logger.Println(err)
		return
	}
	select {
	case g.errors <- err:
	default:
		sarama.Logger.Println("nobody reads the errors:", err)
	}
}

// Close ends a session that runs, and reports sessions that were expected and have not come.
func (g *ConsumerGroup) Close() error {
	g.closeOnce.Do(func() {
		g.mu.Lock()
		g.closed = true
		left := len(g.expected)
		g.mu.Unlock()
		close(g.closing)
		if left > 0 {
			g.t.Errorf("Expected to exhaust all expectations, but %d sessions are left.", left)
		}
		g.consuming.Lock() // until Consume has returned
		defer g.consuming.Unlock()
		g.mu.Lock()
		defer g.mu.Unlock()
		close(g.errors)
	})
	return nil
}

// Pause pauses partitions that are claimed.
func (g *ConsumerGroup) Pause(partitions map[string][]int32) {
	for _, claim := range g.claims(namedIn(partitions)) {
		claim.Pause()
	}
}

// Resume resumes partitions that are claimed.
func (g *ConsumerGroup) Resume(partitions map[string][]int32) {
	for _, claim := range g.claims(namedIn(partitions)) {
		claim.Resume()
	}
}

// PauseAll pauses all that is claimed.
func (g *ConsumerGroup) PauseAll() {
	for _, claim := range g.claims(nil) {
		claim.Pause()
	}
}

// ResumeAll resumes all that is claimed.
func (g *ConsumerGroup) ResumeAll() {
	for _, claim := range g.claims(nil) {
		claim.Resume()
	}
}

func namedIn(partitions map[string][]int32) func(*PartitionConsumer) bool {
	return func(c *PartitionConsumer) bool {
		return slices.Contains(partitions[c.topic], c.partition)
	}
}

// claims returns what the running session claims.
func (g *ConsumerGroup) claims(which func(*PartitionConsumer) bool) []*PartitionConsumer {
	g.mu.Lock()
	s := g.running
	g.mu.Unlock()
	if s == nil {
		return nil
	}
	var found []*PartitionConsumer
	for _, claim := range s.list() {
		if which == nil || which(claim) {
			found = append(found, claim)
		}
	}
	return found
}

// Committed returns the offset that was committed of a partition, and whether there is one.
func (g *ConsumerGroup) Committed(topic string, partition int32) (offset int64, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	found, ok := g.committed[groupPlace{topic, partition}]
	return found.offset, ok
}

func (g *ConsumerGroup) commit(marked groupOffsets) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for place, offset := range marked {
		g.committed[place] = offset
	}
}

// groupOffsets are offsets by partition.
type groupOffsets map[groupPlace]groupOffset

type groupPlace struct {
	topic     string
	partition int32
}

type groupOffset struct {
	offset   int64
	metadata string
}
