package kafka

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const (
	// What a broker takes: patterns of a member, and bytes of a pattern.
	maxPatterns     = 16
	maxPatternBytes = 1024
	// longestDrain is the most that a member may ask for.
	longestDrain = time.Hour
)

// Subscribe is SubscribeTopics for one topic.
func (c *Consumer) Subscribe(topic string, rebalanceCb RebalanceCb) error {
	return c.SubscribeTopics([]string{topic}, rebalanceCb)
}

// SubscribeTopics joins the group for topics, in the place of what was subscribed or assigned
// before: what was subscribed is left first, with its callback told, and what is stored of it
// committed; that this fails is logged alone. It does not wait for the group. A topic that begins
// with ^ is a regular expression (RE2 syntax), which is to be found in a topic's name; also topics
// that are created later are read. Of a topic that does not exist, Poll tells an [Error] with
// ErrUnknownTopicOrPart; it is read once it exists.
//
// When another consumer has joined with the same group.instance.id, the callback is told of what is
// lost, Poll tells a fatal [Error] with ErrFencedInstanceID, and nothing comes any more:
// SubscribeTopics fails with that error from then on. librdkafka calls no callback then.
func (c *Consumer) SubscribeTopics(topics []string, rebalanceCb RebalanceCb) error {
	if err := c.notInCallback("Subscribe"); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	if len(topics) == 0 {
		return errorf(ErrInvalidArg, "no topic is named")
	}
	options, err := c.s.consumer.topicOptions(topics)
	if err != nil {
		return err
	}
	leave, err := c.enter()
	if err != nil {
		return err
	}
	defer leave()
	_ = c.endSubscription() // which has said so
	c.endChosen()
	if c.fatal != nil {
		return c.fatal
	}
	m := &membership{c: c, options: options, joined: make(chan struct{}, 1)}
	m.ctx, m.cancel = context.WithCancel(c.ctx)
	c.mu.Lock()
	c.member, c.topics, c.callback = m, slices.Clone(topics), rebalanceCb
	c.mu.Unlock()
	m.begin(0)
	if !c.s.consumer.autoCreate {
		c.tasks.Go(func() { c.tellMissing(m.ctx, topics) })
	}
	return nil
}

// topicOptions are what a member reads. Names are patterns too: so that they name, and create, no
// topic that does not exist, and join once it does.
func (s *consumerSettings) topicOptions(topics []string) ([]ropewalk.GroupOption, error) {
	var names []string
	var patterns alternatives
	for _, topic := range topics {
		switch {
		case topic == "":
			return nil, errorf(ErrInvalidArg, "a topic has no name")
		case strings.HasPrefix(topic, "^"):
			if _, err := regexp.Compile(topic); err != nil {
				return nil, errorf(ErrInvalidArg, "topic %q: %v", topic, err)
			}
			// A broker compares the whole name, librdkafka looks for the expression in it.
			patterns.add(".*(?:" + topic + ").*")
		default:
			names = append(names, topic)
		}
	}
	if !s.autoCreate {
		for _, name := range names {
			patterns.add(regexp.QuoteMeta(name))
		}
		names = nil
	}
	if len(patterns) > maxPatterns {
		return nil, errorf(ErrInvalidArg, "these are too many topics, or too long ones, for a "+
			"member: take fewer expressions, or set allow.auto.create.topics")
	}
	return groupOptions(names, patterns), nil
}

// alternatives are patterns, as few as the broker's bound allows: each has as many of what is added
// as there is room for.
type alternatives []string

func (a *alternatives) add(pattern string) {
	list := *a
	if last := len(list) - 1; last >= 0 && len(list[last])+1+len(pattern) <= maxPatternBytes {
		list[last] += "|" + pattern
		return
	}
	*a = append(list, pattern)
}

func groupOptions(names, patterns []string) []ropewalk.GroupOption {
	var options []ropewalk.GroupOption
	if len(names) > 0 {
		options = append(options, ropewalk.GroupTopics(names...))
	}
	for _, pattern := range patterns {
		options = append(options, ropewalk.GroupPattern(pattern))
	}
	return options
}

// tellMissing tells of the topics that do not exist.
func (c *Consumer) tellMissing(ctx context.Context, topics []string) {
	admin, err := c.admin(ctx)
	if err != nil {
		return
	}
	for _, topic := range topics {
		if strings.HasPrefix(topic, "^") {
			continue
		}
		_, _, err := admin.GetTopic(ctx, topic)
		if errors.Is(err, ropewalk.ReasonTopicNotFound) {
			c.tell(errorf(ErrUnknownTopicOrPart, "Subscribed topic not available: %s: %v",
				topic, ErrUnknownTopicOrPart))
		}
	}
}

// Unsubscribe leaves the group, after the callback was told and what is stored was committed, and
// ends what Assign has begun.
func (c *Consumer) Unsubscribe() error {
	if err := c.notInCallback("Unsubscribe"); err != nil {
		return err
	}
	leave, err := c.enter()
	if err != nil {
		return err
	}
	defer leave()
	_ = c.endSubscription() // which has said so
	c.endChosen()
	return nil
}

// Subscription returns the topics of the last Subscribe.
func (c *Consumer) Subscription() ([]string, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.topics), nil
}

// A membership is a member of the group, from Subscribe on. Its fields are those of whoever has the
// consumer's turn, but for what the goroutine that joins sends over joined.
type membership struct {
	c       *Consumer
	options []ropewalk.GroupOption
	ctx     context.Context
	cancel  context.CancelFunc
	joined  chan struct{}

	// since is when it was joined last; failures counts the members that have ended soon after.
	since    time.Time
	failures int

	// member is there once joined was received; the lock of the consumer guards it.
	member *ropewalk.GroupConsumer
}

// steady is how long a member lives that is not counted as one that could not read.
const steady = time.Minute

// begin joins in the background, after so many members that have ended soon.
func (m *membership) begin(failures int) {
	c := m.c
	c.tasks.Go(func() {
		for attempt := failures; ; attempt++ {
			if attempt > 0 {
				select {
				case <-time.After(c.s.reconnectPause(attempt)):
				case <-m.ctx.Done():
					return
				}
			}
			member, err := m.join()
			if err == nil {
				m.take(member)
				return
			}
			if m.ctx.Err() != nil {
				return
			}
			c.tell(asError(err))
		}
	})
}

// take takes the member, unless the subscription has ended meanwhile.
func (m *membership) take(member *ropewalk.GroupConsumer) {
	m.c.mu.Lock()
	ended := m.ctx.Err() != nil
	if !ended {
		m.member, m.since = member, time.Now()
	}
	m.c.mu.Unlock()
	if ended {
		_ = member.Close() // it has nothing yet
		return
	}
	select {
	case m.joined <- struct{}{}:
	default:
	}
}

func (m *membership) join() (*ropewalk.GroupConsumer, error) {
	client, err := m.c.core(m.ctx)
	if err != nil {
		return nil, err
	}
	options := append(slices.Clone(m.options), m.c.memberOptions()...)
	return client.JoinGroup(m.ctx, m.c.s.consumer.group, options...)
}

// memberOptions are the core's for the settings.
func (c *Consumer) memberOptions() []ropewalk.GroupOption {
	s := &c.s.consumer
	start := ropewalk.StartEarliest()
	if s.latest {
		start = ropewalk.StartLatest()
	}
	options := []ropewalk.GroupOption{
		ropewalk.GroupStart(start),
		ropewalk.GroupClientID(c.s.clientID),
		ropewalk.GroupStrategy(s.strategy()),
		ropewalk.GroupDrainTimeout(min(s.pollInterval, longestDrain)),
		ropewalk.GroupFetchBytes(min(s.fetchBytes, s.fetchMax, mostFetched)),
		ropewalk.GroupManualCommit(),
		ropewalk.GroupAssigned(c.onAssigned),
		ropewalk.GroupRevoked(c.onRevoked),
		ropewalk.GroupLost(c.onLost),
	}
	if s.instance != "" {
		options = append(options, ropewalk.GroupInstance(s.instance))
	}
	if s.session > 0 {
		options = append(options, ropewalk.GroupRejoinGrace(s.session))
	}
	if s.heartbeat > 0 {
		options = append(options, ropewalk.GroupHeartbeat(s.heartbeat))
	}
	return options
}

// next waits for a record; without one and without an error the context has ended.
func (m *membership) next(ctx context.Context) (*ropewalk.Record, error) {
	member := m.present()
	for ; member == nil; member = m.present() {
		select {
		case <-m.joined:
		case <-ctx.Done():
			return nil, nil
		}
	}
	record, err := member.Next(ctx)
	switch {
	case err == nil:
		return record, nil
	case ctx.Err() != nil && errors.Is(err, ropewalk.ReasonCanceled):
		return nil, nil
	case errors.Is(err, ropewalk.ReasonGap):
		m.c.passGap(err)
		return nil, err
	case m.ctx.Err() != nil:
		return nil, nil
	}
	// The member has ended: as a batch could not be read, or a topic is another one now.
	m.c.commitLast()
	m.c.forgetMember()
	if e := member.Close(); e != nil {
		m.c.log.Warn("a member was not closed in order", "error", e)
	}
	if e := asError(err); e.code == ErrFencedInstanceID {
		m.c.fatal = e
		return nil, e
	}
	if m.failures++; time.Since(m.since) > steady {
		m.failures = 1
	}
	m.begin(m.failures)
	e := asError(fmt.Errorf("the group is joined anew: %w", err))
	e.fatal = false // it goes on
	return nil, e
}

// commitLast commits what is stored, after the member has ended: where the group has not heard of
// that yet, or waits for the member, it is taken, and need not be read again.
func (c *Consumer) commitLast() {
	if !c.s.consumer.autoCommit {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, askLimit)
	defer cancel()
	all := c.all()
	err := c.commitEach(ctx, func() []ropewalk.CommittedOffset { return c.pendingOf(all, true) })
	if err != nil {
		c.log.Warn("what was read before the member ended is not committed", "error", err)
	}
}

func (m *membership) present() *ropewalk.GroupConsumer {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return m.member
}

// passGap has the position be behind a gap.
func (c *Consumer) passGap(err error) {
	var gap *ropewalk.Gap
	if !errors.As(err, &gap) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.parts[gap.TopicPartition]; p != nil && len(p.held) == 0 {
		p.next = gap.To
		c.hasMoved()
	}
}

// forgetMember has nothing assigned any more, after the member was lost.
func (c *Consumer) forgetMember() {
	c.mu.Lock()
	lost := sortedParts(c.parts)
	c.mu.Unlock()
	c.loseAll(lost)
	c.mu.Lock()
	if c.member != nil {
		c.member.member = nil
	}
	c.mu.Unlock()
}

// endSubscription leaves the group, if it was joined. The caller has the turn.
func (c *Consumer) endSubscription() error {
	c.mu.Lock()
	m := c.member
	c.ending = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.ending = false
		c.mu.Unlock()
	}()
	if m == nil {
		return nil
	}
	if m.present() != nil {
		c.giveUpAll()
	}
	c.mu.Lock()
	m.cancel() // under the lock, so that none is taken that is not seen here
	member := m.member
	c.mu.Unlock()
	var err error
	if member != nil {
		if err = member.Close(); err != nil {
			c.log.Warn("the group was not left in order", "error", err)
		}
	}
	c.mu.Lock()
	c.member, c.topics, c.callback = nil, nil, nil
	clear(c.parts)
	c.mu.Unlock()
	return err
}
