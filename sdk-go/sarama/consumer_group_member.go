package sarama

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/halving"
)

const (
	// settledAfter is for how long nothing must have changed before a session begins: partitions
	// come in several steps, as their owners give them up.
	settledAfter = 200 * time.Millisecond
	// emptyAfter is that for a member that has nothing: others may be about to give it something.
	emptyAfter = time.Second
	// settledWithin bounds it.
	settledWithin = 5 * time.Second
	// releasedWithin bounds how long a member that is closed gives back what was revoked.
	releasedWithin = 3 * time.Second
	// leastHeartbeat is how often a broker shows at most that a stream is alive.
	leastHeartbeat = 100 * time.Millisecond
)

// groupMember is the membership in a group. It outlives sessions: what it has is claimed by one
// after the other, and what is to move is given back by the one that runs, or at once when none
// does.
type groupMember struct {
	group  *consumerGroup
	topics []string
	core   *ropewalk.GroupConsumer
	// id is what the group knew the member by when it settled last. It is the holder's of the token
	// of consuming.
	id     string
	cancel context.CancelFunc
	served chan struct{}

	mu    sync.Mutex
	owned map[ropewalk.TopicPartition]*ownedPartition
	// told: the group has said what the member has, and changedAt when it did so last.
	told      bool
	changedAt time.Time
	// changed is closed at the next change.
	changed chan struct{}
	// inSession: a session runs, which gives back what is revoked.
	inSession bool
	ended     error
}

// ownedPartition is a partition that the member has. The one who has it again has another.
type ownedPartition struct {
	position ropewalk.Position
	// next is where the group is: what it begins with when it is claimed.
	next    int64
	revoked bool
	// lost: it was taken before it was given back.
	lost bool
}

// join makes the group's member.
func (c *consumerGroup) join(ctx context.Context, topics []string) (*groupMember, error) {
	m := &groupMember{
		group: c, topics: topics, served: make(chan struct{}),
		owned:   map[ropewalk.TopicPartition]*ownedPartition{},
		changed: make(chan struct{}),
	}
	if err := c.consumer.mayUse(topics...); err != nil {
		return nil, err
	}
	options, err := m.options()
	if err != nil {
		return nil, err
	}
	retry := &c.config.Consumer.Group.Rebalance.Retry
	if !wait(ctx, time.Until(c.refused.Add(retry.Backoff))) {
		return nil, ctx.Err()
	}
	for attempt := 0; ; attempt++ {
		c.config.count("consumer-group-join-total-" + c.id)(1)
		as := ropewalk.GroupMemberID(c.fenced)
		m.core, err = c.core.JoinGroup(ctx, c.id, append(options, as)...)
		if err == nil {
			c.fenced = ""
			break
		}
		c.config.count("consumer-group-join-failed-" + c.id)(1)
		if isFenced(err) {
			c.refused = time.Now()
			return nil, err
		}
		if c.fenced != "" && errors.Is(err, ropewalk.ReasonMemberFenced) {
			c.fenced = "" // nobody has the instance id any more
			continue
		}
		var e *ropewalk.Error
		if !errors.As(err, &e) || !e.Retriable() || attempt >= retry.Max {
			return nil, err
		}
		Logger.Printf("consumer group %s cannot be joined, trying again in %v: %v\n",
			c.id, retry.Backoff, err)
		if !wait(ctx, retry.Backoff) {
			return nil, ctx.Err()
		}
	}
	var serving context.Context
	serving, m.cancel = context.WithCancel(context.Background())
	go withRecover(func() { m.serve(serving) })
	return m, nil
}

func (m *groupMember) options() ([]ropewalk.GroupOption, error) {
	config := m.group.config
	group := &config.Consumer.Group
	strategy := config.groupStrategies()[0]
	name, err := memberName(config.ClientID, subscriptionData(config, strategy, m.topics))
	if err != nil {
		return nil, err
	}
	start := ropewalk.StartLatest()
	if config.Consumer.Offsets.Initial == OffsetOldest {
		start = ropewalk.StartEarliest()
	}
	options := []ropewalk.GroupOption{
		ropewalk.GroupAssignmentsOnly(),
		ropewalk.GroupTopics(m.topics...),
		ropewalk.GroupStart(start),
		ropewalk.GroupClientID(name),
		ropewalk.GroupRejoinGrace(group.Session.Timeout),
		ropewalk.GroupDrainTimeout(group.Rebalance.Timeout),
		ropewalk.GroupHeartbeat(max(group.Heartbeat.Interval, leastHeartbeat)),
		ropewalk.GroupAssigned(m.assigned),
		ropewalk.GroupRevoked(m.revoked),
		ropewalk.GroupLost(m.lost),
		m.strategy(strategy),
	}
	if group.InstanceId != "" {
		options = append(options, ropewalk.GroupInstance(group.InstanceId))
	}
	return options, nil
}

// serve follows the group until the member leaves, or cannot go on.
func (m *groupMember) serve(ctx context.Context) {
	defer close(m.served)
	err := m.core.Serve(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = err
	clear(m.owned)
	m.change()
}

// leave ends the membership: what it has goes to others.
func (m *groupMember) leave() {
	m.cancel()
	if err := m.core.Close(); err != nil {
		Logger.Printf("leaving consumer group %s: %v\n", m.group.id, err)
	}
	<-m.served
}

// failure is why the member cannot go on; nil while it can.
func (m *groupMember) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ended
}

// change tells whoever waits; the caller holds the lock.
func (m *groupMember) change() {
	m.changedAt = time.Now()
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *groupMember) assigned(_ context.Context, positions []ropewalk.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = true
	for _, p := range positions {
		m.owned[p.TopicPartition] = &ownedPartition{position: p, next: p.Offset}
	}
	m.change()
}

func (m *groupMember) revoked(ctx context.Context, positions []ropewalk.Position) {
	m.mu.Lock()
	var back []ropewalk.Position
	for _, p := range positions {
		if o := m.owned[p.TopicPartition]; o != nil {
			o.revoked = true
		}
	}
	if !m.inSession {
		back = m.takeBack(nil)
	}
	m.change()
	m.mu.Unlock()
	m.release(ctx, back)
}

func (m *groupMember) lost(_ context.Context, positions []ropewalk.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = m.core.Err() // known before the session hears of the loss
	for _, p := range positions {
		Logger.Printf("consumer group %s: %s/%d was taken before it was given back\n",
			m.group.id, p.Topic, p.Partition)
		if o := m.owned[p.TopicPartition]; o != nil {
			o.lost = true
			delete(m.owned, p.TopicPartition)
		}
	}
	m.change()
}

func (m *groupMember) isLost(o *ownedPartition) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return o.lost
}

// takeBack takes out what is revoked, but for what is still claimed; the caller holds the lock.
func (m *groupMember) takeBack(claims map[ropewalk.TopicPartition]*claimed) []ropewalk.Position {
	var back []ropewalk.Position
	for tp, o := range m.owned {
		if c := claims[tp]; o.revoked && (c == nil || c.owned != o) {
			back = append(back, o.position)
			delete(m.owned, tp)
		}
	}
	return back
}

// release gives partitions back. What cannot be given back is taken at the deadline. Close does not
// wait for that long.
func (m *groupMember) release(ctx context.Context, back []ropewalk.Position) {
	if len(back) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.group.life, func() {
		wait(ctx, releasedWithin)
		cancel()
	})()
	if err := m.core.Release(ctx, back...); err != nil {
		Logger.Printf("consumer group %s: partitions cannot be given back: %v\n", m.group.id, err)
	}
}

// settle waits until the member knows what it has, and nothing has changed for a while. One that
// the group has lost has no id, until the group has taken it again.
func (m *groupMember) settle(ctx context.Context) error {
	var until time.Time
	for {
		m.mu.Lock()
		ended, told, changed := m.ended, m.told, m.changed
		quiet := settledAfter
		if len(m.owned) == 0 {
			quiet = emptyAfter
		}
		left := time.Until(m.changedAt.Add(quiet))
		m.mu.Unlock()
		if ended != nil {
			return ended
		}
		// After the channel was got that tells of the answer with which the id comes.
		m.id = m.core.MemberID()
		known := told && m.id != ""
		if known && until.IsZero() {
			until = time.Now().Add(settledWithin)
		}
		var settled <-chan time.Time
		if known {
			left = min(left, time.Until(until))
			if left <= 0 {
				return nil
			}
			settled = time.After(left)
		}
		select {
		case <-changed:
		case <-settled:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take begins a session with what the member has, and says what is closed at the next change.
func (m *groupMember) take() (map[ropewalk.TopicPartition]*ownedPartition, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inSession = true
	owned := map[ropewalk.TopicPartition]*ownedPartition{}
	for tp, o := range m.owned {
		if !o.revoked {
			owned[tp] = o
		}
	}
	return owned, m.changed
}

// compare says what has changed of what a session claims: what is to be given up, and what is new.
// The channel is closed at the next change.
func (m *groupMember) compare(claims map[ropewalk.TopicPartition]*claimed) (
	gone []*claimed, fresh map[ropewalk.TopicPartition]*ownedPartition,
	changed <-chan struct{}, ended error,
) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fresh = map[ropewalk.TopicPartition]*ownedPartition{}
	for tp, c := range claims {
		if o := m.owned[tp]; o != c.owned || o.revoked {
			gone = append(gone, c)
		}
	}
	for tp, o := range m.owned {
		if c := claims[tp]; !o.revoked && (c == nil || c.owned != o) {
			fresh[tp] = o
		}
	}
	return gone, fresh, m.changed, m.ended
}

// give gives back what is revoked and not claimed any more.
func (m *groupMember) give(claims map[ropewalk.TopicPartition]*claimed) {
	m.mu.Lock()
	back := m.takeBack(claims)
	m.mu.Unlock()
	m.release(context.Background(), back)
}

// endSession gives back what is revoked; from here on that is done at once.
func (m *groupMember) endSession() {
	m.mu.Lock()
	m.inSession = false
	back := m.takeBack(nil)
	m.mu.Unlock()
	m.release(context.Background(), back)
}

// commit keeps offsets of what a session claims, and notes where the group is now.
func (m *groupMember) commit(
	ctx context.Context, offsets []ropewalk.CommittedOffset, of []*claimed,
) []halving.Result {
	results := commitEach(offsets, func(offsets []ropewalk.CommittedOffset) error {
		return m.core.CommitOffset(ctx, offsets...)
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, result := range results {
		if result.Err == nil {
			of[i].owned.next = offsets[i].Offset
		}
	}
	return results
}

// next is where a partition begins when it is claimed.
func (m *groupMember) next(o *ownedPartition) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return o.next
}

// topicsOf are partitions by topic, in order.
func topicsOf(partitions []ropewalk.TopicPartition) map[string][]int32 {
	topics := map[string][]int32{}
	for _, tp := range partitions {
		topics[tp.Topic] = append(topics[tp.Topic], tp.Partition)
	}
	for _, partitions := range topics {
		slices.Sort(partitions)
	}
	return topics
}
