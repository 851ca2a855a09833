package ropewalk

import (
	"context"
	"errors"
	"iter"
	"math"
	"sync"
	"time"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

const (
	// lookEvery is how often a member that has records at hand looks what the broker says meanwhile.
	lookEvery = 100 * time.Millisecond
	// groupReadAhead bounds the bytes of batches that wait for a member, beside what waits in gRPC.
	groupReadAhead = 4 << 20
)

// A GroupConsumer is a member of a consumer group. The members share the partitions of the group's
// topics: each has one owner at a time, and only those that move are stopped when members come and go.
// When the connection breaks it reconnects, through any broker, and goes on where it was; when the
// group has gone on without it, it joins anew. When another member has taken its instance name, it
// has ended ([Error.InstanceTaken]).
//
// What was handed out counts as done when the consumer is asked for more: that is what automatic
// commits keep. While records are at hand the member looks ahead, ten times a second when it is asked
// for more: so a revocation is seen, and what is done is committed, in the middle of a batch.
//
// One goroutine reads; all else may be called by others too, and by the handlers.
type GroupConsumer struct {
	client *Client
	group  string
	config groupConfig

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	// reading holds a token while somebody takes from it. What follows is its holder's.
	reading chan struct{}
	stream  *groupStream
	// address is where the broker of the newest stream is: whatever is at hand has come over it.
	address string
	// former is the stream before, which is left open until the next one has its place: one that is
	// closed leaves the group.
	former   *groupStream
	opening  chan openedStream
	failures int
	// current is the piece at hand of opened.
	current []Record
	opened  openedBatch
	// ahead is what was received and not opened yet, of aheadBytes.
	ahead      []groupEvent
	aheadBytes int
	// releasing is what was revoked, was told, and is to be given back.
	releasing []Position
	// commitAt is when what is done is to be committed. Before mayCommitAt it is not, also when the
	// broker waits for it.
	commitAt, mayCommitAt time.Time
	lookAt                time.Time
	// final is written with mu locked.
	final error

	// committing holds a token while somebody commits how far the member is, from looking at that until
	// the answer: a commit that is tried again could land behind one that says more.
	committing chan struct{}
	// wake tells whoever waits that something was changed.
	wake chan struct{}

	mu     sync.Mutex
	closed bool
	// joined is the stream that a broker has taken last, and joinedAs the member that it is of: "" when
	// none was taken, or the broker has said that it is a member no more.
	joined   *groupStream
	joinedAs string
	// ended is done once it is closed.
	ended sync.Once
	has   groupHoldings
	// changed: a partition was paused, resumed or sought in. What was read ahead is void, and the
	// stream is to be opened anew.
	changed bool
}

// JoinGroup makes a member of a consumer group. The context bounds the joining only.
func (c *Client) JoinGroup(
	ctx context.Context, group string, options ...GroupOption,
) (*GroupConsumer, error) {
	config := defaultGroupConfig()
	for _, option := range options {
		option(&config)
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	g := &GroupConsumer{
		client: c, group: group, config: config,
		reading:    make(chan struct{}, 1),
		committing: make(chan struct{}, 1),
		wake:       make(chan struct{}, 1),
		has:        groupHoldings{readElsewhere: config.assignmentsOnly},
	}
	g.has.begin(config.memberID, 0)
	g.ctx, g.cancel = context.WithCancel(c.ctx)
	if !c.adopt(g) {
		g.cancel()
		return nil, closedError("join group", "client")
	}
	stream, err := startChild(ctx, g.ctx, c, "join group", g.open)
	if err != nil {
		g.cancel()
		c.disown(g)
		return nil, err
	}
	g.begin(stream)
	return g, nil
}

// Next returns the next record, and waits for it as long as the context allows. An error with
// [ReasonGap] wraps a *[Gap]: records are gone, and the next call goes on behind them. After any other
// error that is not the context's, the consumer has ended.
func (g *GroupConsumer) Next(ctx context.Context) (*Record, error) {
	records, err := g.hand(ctx, 1)
	if err != nil {
		return nil, err
	}
	return &records[0], nil
}

// Poll returns records as they came in, at least one, all of one partition. It waits and fails as Next
// does.
func (g *GroupConsumer) Poll(ctx context.Context) ([]Record, error) { return g.hand(ctx, 0) }

func (g *GroupConsumer) hand(ctx context.Context, most int) ([]Record, error) {
	if g.config.assignmentsOnly {
		return nil, invalidError("consume", "the member is sent no records: run Serve")
	}
	began := beganFor(g.config.deliveries)
	records, address, err := g.take(ctx, most)
	if err == nil {
		g.client.onReceive(ctx, g.config.interceptors, records)
		g.client.onDelivery(ctx, g.config.deliveries,
			Delivery{Records: records, Group: g.group, Address: address, Began: began})
		g.client.hooks.recordsDelivered(g.group, address, records)
	}
	return records, err
}

// Records returns the records to range over. The loop ends after an error, which it gets; only a gap
// does not end it.
func (g *GroupConsumer) Records(ctx context.Context) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		for {
			record, err := g.Next(ctx)
			if !yield(record, err) || (err != nil && !errors.Is(err, ReasonGap)) {
				return
			}
		}
	}
}

// MemberID is the id that the group knows this member by, or knew it by if another member has taken
// its instance name.
func (g *GroupConsumer) MemberID() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.has.memberID
}

// Err returns why the consumer has ended, which is what Next, Poll and Serve return from then on;
// nil while it goes on, and after Close. It is set when [GroupLost] is told of what was lost with
// that.
func (g *GroupConsumer) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.final
}

// Positions returns what the member has, each with the offset after what was handed out of it; for
// a member with [GroupAssignmentsOnly] it is what it committed last, or where it was to begin. What
// was given back is not among it, also when the answer to that was lost. HighWatermark and LogStart
// are as of what the member last took from its stream; with [GroupAssignmentsOnly] as of when it got
// the partition.
func (g *GroupConsumer) Positions() []Position {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.has.positions()
}

// Pause reads nothing of partitions until they are resumed. They stay the member's. It has the stream
// opened anew, as Resume and Seek do: what was read ahead of all partitions is read again. It is no
// means for each record.
func (g *GroupConsumer) Pause(partitions ...TopicPartition) {
	g.change(partitions, func(h *heldPartition) { h.paused = true })
}

// Resume reads partitions again that were paused.
func (g *GroupConsumer) Resume(partitions ...TopicPartition) {
	g.change(partitions, func(h *heldPartition) { h.paused = false })
}

// Seek goes on elsewhere in a partition that the member has. What is committed stays until the next
// commit.
func (g *GroupConsumer) Seek(partition TopicPartition, offset int64) {
	g.change([]TopicPartition{partition}, func(h *heldPartition) {
		h.next, h.given, h.done = offset, offset, offset
	})
}

// change waits for nobody: the reader takes it up before it hands out anything more.
func (g *GroupConsumer) change(partitions []TopicPartition, change func(*heldPartition)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, tp := range partitions {
		if h := g.has.held[tp]; h != nil {
			change(h)
			g.changed = true
		}
	}
	if g.changed {
		select {
		case g.wake <- struct{}{}:
		default:
		}
	}
}

// Close commits what was handed out, unless the program commits by itself, and leaves the group: when
// it returns the member has gone, unless no broker says so within 3 s. A member with an instance name
// is waited for instead. The commit takes no longer than the client's request timeout. Closing again
// does nothing, but for waiting until it is closed.
func (g *GroupConsumer) Close() error { return g.Shutdown(context.Background()) }

// Shutdown is Close with a commit that takes no longer than the context allows: what it could not commit
// then comes to another member too. Where another call closes the consumer already, it waits for that.
func (g *GroupConsumer) Shutdown(ctx context.Context) (err error) {
	g.ended.Do(func() { err = g.shutdown(ctx) })
	return err
}

func (g *GroupConsumer) shutdown(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	g.has.finish()
	g.mu.Unlock()
	var err error
	if g.config.autoCommit > 0 && g.joinedMember() != "" {
		err = g.commitLast(ctx)
	}
	g.cancel()
	g.tasks.Wait()
	g.sayGoodbye(ctx)
	g.tellLeft()
	g.client.disown(g)
	return err
}

// spawn runs a function that Close waits for; it reports false once the consumer is closed.
func (g *GroupConsumer) spawn(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.tasks.Go(f)
	return true
}

// take waits for records: at most so many of a batch, or all of it (0). It says where they came
// from.
func (g *GroupConsumer) take(ctx context.Context, most int) ([]Record, string, error) {
	select {
	case g.reading <- struct{}{}:
	case <-ctx.Done():
		return nil, "", contextError("consume", ctx, OutcomeNo)
	}
	defer func() { <-g.reading }()
	g.mu.Lock()
	g.has.finish()
	g.mu.Unlock()
	for {
		if err := g.look(ctx); err != nil {
			return nil, "", err
		}
		if records, err := g.handOut(most); records != nil || err != nil {
			return records, g.address, err
		}
		if err := g.receive(ctx); err != nil {
			return nil, "", err
		}
	}
}

// handOut gives records that are at hand, and nil when there are none.
func (g *GroupConsumer) handOut(most int) ([]Record, error) {
	g.mu.Lock()
	for !g.changed {
		if len(g.current) > 0 {
			first := &g.current[0]
			tp := TopicPartition{first.Topic, first.Partition}
			if !g.has.reads(tp, first.era) {
				g.current, g.opened = nil, openedBatch{}
				continue
			}
			n := len(g.current)
			if most > 0 {
				n = min(n, most)
			}
			records := g.current[:n:n]
			g.current = g.current[n:]
			g.has.give(tp, records[n-1].Offset+1)
			g.mu.Unlock()
			return records, nil
		}
		if g.opened.more() {
			// It may be long to unpack: whoever commits does not wait for it.
			g.mu.Unlock()
			if err := g.nextPiece(); err != nil {
				return nil, err
			}
			g.mu.Lock()
			continue
		}
		if len(g.ahead) == 0 {
			break
		}
		event := g.ahead[0]
		g.ahead = g.ahead[1:]
		g.aheadBytes -= event.bytes
		if !g.has.reads(event.tp, event.era) {
			continue
		}
		if event.gap != nil {
			// Whoever has the partition next need not meet it again.
			g.has.give(event.tp, event.gap.To)
			g.mu.Unlock()
			if err := g.tellGap(event.gap); err != nil {
				return nil, err
			}
			g.mu.Lock()
			continue
		}
		g.mu.Unlock()
		if err := g.unpack(event); err != nil {
			return nil, err
		}
		g.mu.Lock()
	}
	g.mu.Unlock()
	return nil, nil
}

// unpack makes a batch the one that is handed out.
func (g *GroupConsumer) unpack(event groupEvent) error {
	opened, damage := event.batch.open(event.from, math.MaxInt64, event.era)
	if damage == nil {
		g.client.hooks.batchReceived(g.group, event.batch)
	}
	g.opened = opened
	return g.damaged(damage)
}

// nextPiece makes the next records of it those at hand.
func (g *GroupConsumer) nextPiece() error {
	records, damage := g.opened.piece()
	g.current = records
	return g.damaged(damage)
}

// damaged: a member that cannot read a batch ends, and leaves.
func (g *GroupConsumer) damaged(damage *Error) error {
	if damage == nil {
		return nil
	}
	_ = g.fail(damage)
	g.retire()
	g.leave()
	g.tellLeft()
	return damage
}

// look takes, from time to time, what has come and is due, for a program that has enough to do with what
// it has.
func (g *GroupConsumer) look(ctx context.Context) error {
	now := time.Now()
	if now.Before(g.lookAt) || g.final != nil {
		return g.final
	}
	g.lookAt = now.Add(lookEvery)
	if err := g.settle(ctx); err != nil {
		return err
	}
	// The goroutine that receives holds one event, and has the next in far less than this.
	pause := time.NewTimer(time.Millisecond)
	defer pause.Stop()
	for g.stream != nil && g.aheadBytes < groupReadAhead {
		select {
		case event, ok := <-g.stream.events:
			if !ok {
				return g.broken(ctx, g.stream.err)
			}
			if err := g.handle(ctx, event); err != nil {
				return err
			}
			pause.Reset(time.Millisecond)
		case <-pause.C:
			return nil
		case <-g.ctx.Done():
			return closedError("consume", "consumer")
		}
	}
	return nil
}

// receive takes one step: it commits what is due, and takes the next event.
func (g *GroupConsumer) receive(ctx context.Context) error {
	if g.final != nil {
		return g.final
	}
	if err := g.settle(ctx); err != nil {
		return err
	}
	g.mu.Lock()
	changed := g.changed
	commits := g.config.autoCommit > 0 && len(g.has.uncommitted()) > 0
	g.mu.Unlock()
	// A stream that is being opened is let come first: one that is given up would leave.
	if changed && g.opening == nil {
		g.retire()
	}
	if g.stream == nil {
		return g.reopen(ctx)
	}
	var commit <-chan time.Time
	if commits {
		timer := time.NewTimer(time.Until(g.commitDue()))
		defer timer.Stop()
		commit = timer.C
	}
	silence := time.NewTimer(3 * g.config.heartbeat)
	defer silence.Stop()
	select {
	case event, ok := <-g.stream.events:
		if !ok {
			return g.broken(ctx, g.stream.err)
		}
		g.failures = 0
		return g.handle(ctx, event)
	case <-silence.C:
		return g.broken(ctx, silentError(3*g.config.heartbeat))
	case <-commit:
	case <-g.wake:
	case <-ctx.Done():
		return contextError("consume", ctx, OutcomeNo)
	case <-g.ctx.Done():
		return closedError("consume", "consumer")
	}
	return nil
}

// member is how it introduces itself to the group.
func (g *GroupConsumer) member() *pb.GroupMember {
	c := &g.config
	member := &pb.GroupMember{
		InstanceName: c.instance, ClientId: c.clientID, Strategy: c.strategy,
		RejoinGrace: c.grace, DrainTimeout: c.drain,
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.has.memberID != "" {
		member.MemberId, member.Generation = g.has.memberID, g.has.generation
		member.Positions = g.has.toGoOn()
	}
	return member
}
