package sarama

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// sessionPause is what lies at least between two sessions, so that a handler which returns at once
// does not keep the brokers busy with nothing.
const sessionPause = 50 * time.Millisecond

// Errors of consumer groups.
var (
	// ErrClosedConsumerGroup: the consumer group is closed.
	ErrClosedConsumerGroup = errors.New("kafka: tried to use a consumer group that was closed")

	// ErrSessionPartitionCountChanged would be why a session ends for partitions that are added. Not
	// given here: they come as any other partitions do, with ErrRebalanceInProgress.
	ErrSessionPartitionCountChanged = errors.New("kafka: partition count changed for subscribed topic")

	// ErrSessionConsumeClaimExited is the cause of a session's context when a ConsumeClaim has
	// returned.
	ErrSessionConsumeClaimExited = errors.New("kafka: ConsumeClaim goroutine exited")

	// ErrSessionHeartbeatFailed is the cause of a session's context when the member could not go on in
	// the group.
	ErrSessionHeartbeatFailed = errors.New("kafka: heartbeat loop failed")

	// ErrRebalanceTimedOut is the cause of a session's context when, with a cooperative strategy, a
	// ConsumeClaim did not return within Consumer.Group.Rebalance.Timeout after its partition was to
	// go to another member.
	ErrRebalanceTimedOut = errors.New(
		"kafka: ConsumeClaim did not exit within Consumer.Group.Rebalance.Timeout of being revoked")
)

// ConsumerGroup is a member of a consumer group: the members share the partitions of their topics.
// It must be closed.
//
// The member joins with the first Consume, and stays one until Close: a session that ends and
// another that begins move nothing. It leaves when it is not in Consume for
// Consumer.Group.Session.Timeout, and joins anew when Consume is called with other topics. When
// partitions move, the session ends, of those that stay too, which the next session goes on with
// where they are committed; with NewBalanceStrategyCooperativeSticky it does not end.
type ConsumerGroup interface {
	// Consume takes part in the group and runs a session: it claims partitions, calls the handler's
	// Setup, runs ConsumeClaim in a goroutine for each claim, and, when the session is to end, waits
	// for them, calls Cleanup and commits what is marked. A session ends when partitions move, when a
	// ConsumeClaim returns, when ctx is done, and with Close. Consume returns nil then: it is to be
	// called in a loop, until ctx is done or it returns ErrClosedConsumerGroup.
	//
	// It returns an error when the group cannot be joined, also after Group.Rebalance.Retry; and those
	// of Setup and Cleanup.
	//
	// Another member that joins with the same Group.InstanceId takes the place of this one: the
	// session ends, ErrFencedInstancedId comes over Errors and is the cause of the session's context.
	// From then on Consume returns it for as long as the group knows the other, with
	// Group.Rebalance.Retry.Backoff between one try and the next. In sarama there is no such pause.
	Consume(ctx context.Context, topics []string, handler ConsumerGroupHandler) error

	// Errors is the channel of errors, of handlers too, if Consumer.Return.Errors is set: it must be
	// read then, what finds no room is logged. Otherwise errors are logged. Close closes it.
	Errors() <-chan error

	// Close ends a session that runs and leaves the group. With Group.InstanceId the group waits for
	// the member instead, as long as Group.Session.Timeout. It returns an error that nobody has read.
	// Closing again does nothing. A handler must not call it.
	Close() error

	// Pause stops delivery of partitions that are claimed; Resume goes on with it. They stay claimed,
	// and are still paused when they are claimed again.
	Pause(partitions map[string][]int32)
	Resume(partitions map[string][]int32)

	// PauseAll and ResumeAll do that for all that is claimed.
	PauseAll()
	ResumeAll()
}

type consumerGroup struct {
	config      *Config
	core        *ropewalk.Client
	id          string
	cooperative bool
	// consumer reads the claims. It closes the client in the end, if that is the group's own.
	consumer *consumer

	// life ends with Close.
	life    context.Context
	end     context.CancelFunc
	closing sync.Once

	// consuming holds a token while Consume runs, and Close. What follows is its holder's.
	consuming chan struct{}
	member    *groupMember
	idle      *time.Timer
	rested    time.Time
	// fenced is the member whose instance id another has taken, and refused when it could not come
	// back.
	fenced  string
	refused time.Time

	mu     sync.Mutex
	closed bool
	errors chan error
}

// NewConsumerGroup connects to the brokers and makes a member of a group. A nil config stands for
// the defaults.
func NewConsumerGroup(addrs []string, groupID string, config *Config) (ConsumerGroup, error) {
	client, err := NewClient(addrs, config)
	if err != nil {
		return nil, err
	}
	return newConsumerGroup(groupID, client, true)
}

// NewConsumerGroupFromClient makes a member of a group that shares a client. The client stays open
// when the member is closed.
func NewConsumerGroupFromClient(groupID string, client Client) (ConsumerGroup, error) {
	if client == nil {
		return nil, ConfigurationError("client must not be nil")
	}
	return newConsumerGroup(groupID, client, false)
}

func newConsumerGroup(id string, client Client, own bool) (ConsumerGroup, error) {
	consumer, err := newConsumer(client, own)
	if err != nil {
		return nil, err
	}
	consumer.ofGroup = true
	c := &consumerGroup{
		config: client.Config(), core: consumer.core, id: id, consumer: consumer,
		consuming: make(chan struct{}, 1),
		errors:    make(chan error, client.Config().ChannelBufferSize),
	}
	if err := c.check(); err != nil {
		_ = consumer.Close() // the error that counts is there
		return nil, err
	}
	c.life, c.end = context.WithCancel(context.Background())
	return c, nil
}

// check refuses what Validate does not know of.
func (c *consumerGroup) check() error {
	if !c.config.Version.IsAtLeast(V0_10_2_0) {
		return ConfigurationError("consumer groups require Version to be >= V0_10_2_0")
	}
	protocol, err := selectRebalanceProtocol(c.config.groupStrategies())
	if err != nil {
		return err
	}
	c.cooperative = protocol == RebalanceProtocolCooperative
	_, err = memberName(c.config.ClientID, c.config.Consumer.Group.Member.UserData)
	return err
}

func (c *consumerGroup) Consume(
	ctx context.Context, topics []string, handler ConsumerGroupHandler,
) error {
	if c.life.Err() != nil {
		return ErrClosedConsumerGroup
	}
	select {
	case c.consuming <- struct{}{}:
	case <-c.life.Done():
		return ErrClosedConsumerGroup
	case <-ctx.Done():
		return ctx.Err()
	}
	defer c.rest()
	if c.idle != nil {
		c.idle.Stop()
	}
	if len(topics) == 0 {
		return errors.New("no topics provided")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.life, func() { cancel(nil) })()
	member, err := c.memberOf(ctx, topics)
	if err != nil {
		return c.notConsumed(ctx, err)
	}
	return newGroupSession(ctx, member, handler).run()
}

// notConsumed is the error of a Consume without a session.
func (c *consumerGroup) notConsumed(ctx context.Context, err error) error {
	switch {
	case c.life.Err() != nil, errors.Is(err, ropewalk.ReasonClosed):
		return ErrClosedConsumerGroup
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return mapError(err)
}

// memberOf is the member of the group with these topics, which knows what it has.
func (c *consumerGroup) memberOf(ctx context.Context, topics []string) (*groupMember, error) {
	topics = slices.Clone(topics)
	slices.Sort(topics)
	topics = slices.Compact(topics)
	if c.member != nil && (!slices.Equal(c.member.topics, topics) || c.member.failure() != nil) {
		c.leave()
	}
	if c.member == nil {
		member, err := c.join(ctx, topics)
		if err != nil {
			return nil, err
		}
		c.member = member
	}
	if !wait(ctx, time.Until(c.rested.Add(sessionPause))) {
		return nil, ctx.Err()
	}
	err := c.member.settle(ctx)
	if err != nil && ctx.Err() == nil {
		c.leave()
	}
	return c.member, err
}

// rest gives the token back. A member that is not in Consume again in time leaves.
func (c *consumerGroup) rest() {
	c.rested = time.Now()
	if c.member != nil && c.life.Err() == nil {
		c.idle = time.AfterFunc(c.config.Consumer.Group.Session.Timeout, c.leaveIdle)
	}
	<-c.consuming
}

// leaveIdle leaves when nobody consumes.
func (c *consumerGroup) leaveIdle() {
	select {
	case c.consuming <- struct{}{}:
	default:
		return
	}
	defer func() { <-c.consuming }()
	if c.member != nil && c.life.Err() == nil &&
		time.Since(c.rested) >= c.config.Consumer.Group.Session.Timeout {
		Logger.Printf("consumer group %s: nobody calls Consume, so the member leaves\n", c.id)
		c.leave()
	}
}

// leave ends the membership.
func (c *consumerGroup) leave() {
	if c.member != nil {
		if isFenced(c.member.failure()) {
			c.fenced = c.member.core.MemberID()
		}
		c.member.leave()
		c.member = nil
	}
}

// isFenced reports whether another member has taken the instance id.
func isFenced(err error) bool {
	var e *ropewalk.Error
	return errors.As(err, &e) && e.InstanceTaken()
}

func (c *consumerGroup) Errors() <-chan error { return c.errors }

func (c *consumerGroup) Close() error {
	var err error
	c.closing.Do(func() {
		c.end()
		c.consuming <- struct{}{} // and never back
		if c.idle != nil {
			c.idle.Stop()
		}
		c.leave()
		if e := c.consumer.Close(); e != nil {
			err = e
		}
		c.mu.Lock()
		c.closed = true
		close(c.errors)
		c.mu.Unlock()
		for e := range c.errors {
			err = e
		}
	})
	return err
}

// report passes an error to the program, or to the log if it does not want them. With a topic it is
// that of a partition.
func (c *consumerGroup) report(err error, topic string, partition int32) {
	var of *ConsumerError
	if topic != "" && !errors.As(err, &of) {
		err = &ConsumerError{Topic: topic, Partition: partition, Err: err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.config.Consumer.Return.Errors || c.closed {
		Logger.Println(err)
		return
	}
	select {
	case c.errors <- err:
	default:
		Logger.Println("nobody reads the errors:", err)
	}
}

func (c *consumerGroup) Pause(partitions map[string][]int32)  { c.consumer.Pause(partitions) }
func (c *consumerGroup) Resume(partitions map[string][]int32) { c.consumer.Resume(partitions) }
func (c *consumerGroup) PauseAll()                            { c.consumer.PauseAll() }
func (c *consumerGroup) ResumeAll()                           { c.consumer.ResumeAll() }

// wait reports false when the context ended before the time was over.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
