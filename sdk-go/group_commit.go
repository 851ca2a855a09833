package ropewalk

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/halving"
)

const opCommit = "commit offset"

// mostCommitsAtOnce bounds the partitions of one request, as the broker does.
const mostCommitsAtOnce = 10_000

// mostCommitBytes bounds the bytes of one commit, and leaves room for the rest of a message.
const mostCommitBytes = 3 << 20

// commitItem is what is to become of a partition: it is committed, given back, or both.
type commitItem struct {
	offset  *CommittedOffset
	release *Position
}

// Commit keeps how far the member is: everything that was handed out counts as read. It fails with
// [ReasonMemberFenced], and keeps nothing, when a partition is not the member's any more.
func (g *GroupConsumer) Commit(ctx context.Context) error {
	if g.config.assignmentsOnly {
		return invalidError(opCommit, "the member hands out no records: use CommitOffset")
	}
	done, err := g.beginCommit(ctx)
	if err != nil {
		return err
	}
	defer done()
	var offsets []CommittedOffset
	for _, p := range g.Positions() {
		offsets = append(offsets, p.ToCommit())
	}
	return g.CommitOffset(ctx, offsets...)
}

// beginCommit waits until nobody else commits how far the member is.
func (g *GroupConsumer) beginCommit(ctx context.Context) (done func(), err error) {
	done = func() { <-g.committing }
	select {
	case g.committing <- struct{}{}: // also where the context has ended: there may be nothing to do
		return done, nil
	default:
	}
	select {
	case g.committing <- struct{}{}:
		return done, nil
	case <-ctx.Done():
		return nil, contextError(opCommit, ctx, OutcomeNo)
	}
}

// commitLast commits what a member that is closed has done.
func (g *GroupConsumer) commitLast(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.client.config.requestTimeout)
	defer cancel()
	done, err := g.beginCommit(ctx)
	if err != nil {
		return err
	}
	defer done()
	g.mu.Lock()
	offsets := g.has.uncommitted()
	g.mu.Unlock()
	if len(offsets) == 0 {
		return nil
	}
	return g.keepMost(ctx, offsets, nil)
}

// CommitOffset keeps positions of the member, durably: up to 10,000 of them all together or not at all, of
// more each 10,000. It fails with [ReasonMemberFenced], and keeps nothing, when a partition is not the
// member's any more; of what comes from [Record.ToCommit] and [Position.ToCommit], also when another
// member has had the partition since it was handed out. An offset that the program made itself counts as
// of now.
func (g *GroupConsumer) CommitOffset(ctx context.Context, offsets ...CommittedOffset) error {
	g.mu.Lock()
	offsets, err := g.has.vouch(offsets)
	g.mu.Unlock()
	if err != nil {
		return err
	}
	var items []commitItem
	for i := range offsets {
		items = append(items, commitItem{offset: &offsets[i]})
	}
	for part := range slices.Chunk(items, mostCommitsAtOnce) {
		if err := g.keep(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// keep commits positions and gives partitions back, with one request.
func (g *GroupConsumer) keep(ctx context.Context, items []commitItem) error {
	var offsets []CommittedOffset
	var release []Position
	for _, item := range items {
		if item.offset != nil {
			offsets = append(offsets, *item.offset)
		}
		if item.release != nil {
			release = append(release, *item.release)
		}
	}
	g.mu.Lock()
	// Whose they are, and until which generation that is known, belong together.
	request := &pb.CommitOffsetRequest{
		Group: g.group, MemberId: g.has.memberID, Generation: g.has.generation,
	}
	offsets, err := g.has.vouch(offsets)
	var first []Position
	if err == nil {
		release, first = g.has.giveBack(release)
	}
	g.mu.Unlock()
	if err != nil || len(offsets)+len(release) == 0 {
		return err
	}
	for _, o := range offsets {
		request.Offsets = append(request.Offsets, &pb.CommittedOffset{
			Topic: o.Topic, Partition: o.Partition, Offset: o.Offset, Metadata: o.Metadata,
		})
	}
	for _, p := range release {
		request.Release = append(request.Release,
			&pb.TopicPartitions{Topic: p.Topic, Partitions: []int32{p.Partition}})
	}
	began := time.Now()
	var by peer.Peer
	_, err = callOfChild(ctx, g.client, opCommit, true,
		func(ctx context.Context) (*pb.CommitOffsetResponse, error) {
			// A try that meets no connection could not say that nothing was given back.
			g.client.awaitConnection(ctx)
			return g.client.consumers.CommitOffset(ctx, request, grpc.Peer(&by))
		})
	g.client.hooks.commitDone(ctx, request, began, &by, err)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.has.kept(offsets, release)
		return nil
	}
	var e *Error
	if errors.As(err, &e) && e.Appended() == OutcomeNo {
		g.has.turn(first, heldGivingBack, heldRevoked)
	}
	if len(offsets) == 1 && errors.Is(err, ReasonMemberFenced) {
		g.has.refuse(offsets[0])
	}
	return err
}

// commitItems has what is given back stay with its offset, which counts before.
func commitItems(offsets []CommittedOffset, released []Position) []commitItem {
	release := map[TopicPartition]*Position{}
	for i := range released {
		release[released[i].TopicPartition] = &released[i]
	}
	var items []commitItem
	for i := range offsets {
		tp := offsets[i].TopicPartition
		items = append(items, commitItem{&offsets[i], release[tp]})
		delete(release, tp)
	}
	for i := range released {
		if p := &released[i]; release[p.TopicPartition] == p {
			items = append(items, commitItem{nil, p})
		}
	}
	return items
}

// keepMost is keep, and keeps what can be kept when some of it cannot. It returns the last error when not
// everything was kept.
func (g *GroupConsumer) keepMost(
	ctx context.Context, offsets []CommittedOffset, released []Position,
) error {
	var last error
	isOfOne := func(err error) bool {
		var e *Error
		return errors.As(err, &e) && e.OfOnePartition()
	}
	for part := range slices.Chunk(commitItems(offsets, released), mostCommitsAtOnce) {
		for _, result := range halving.Each(part, func(items []commitItem) error {
			return g.keep(ctx, items)
		}, isOfOne) {
			if result.Err != nil {
				last = result.Err
			}
		}
		if last != nil && !isOfOne(last) {
			return last
		}
	}
	return last
}

// commitDue is when what is done is to be committed, in a member that does so by itself. At its limit in
// flight it is sent nothing more until it commits: with nothing at hand it does so at once.
func (g *GroupConsumer) commitDue() time.Time {
	if g.config.inFlight != nil && len(g.current)+len(g.ahead) == 0 && !g.opened.more() &&
		g.mayCommitAt.Before(g.commitAt) {
		return g.mayCommitAt
	}
	return g.commitAt
}

// settle commits what is due, and gives back what was revoked and told. What was lost meanwhile the
// stream tells.
func (g *GroupConsumer) settle(ctx context.Context) error {
	automatic := g.config.autoCommit > 0
	if len(g.releasing) == 0 && (!automatic || time.Now().Before(g.commitDue())) {
		return nil
	}
	done, err := g.beginCommit(ctx)
	if err != nil {
		return contextError("consume", ctx, OutcomeNo)
	}
	defer done()
	var offsets []CommittedOffset
	if automatic {
		g.mu.Lock()
		offsets = g.has.uncommitted()
		g.mu.Unlock()
	}
	if len(offsets)+len(g.releasing) > 0 {
		pause := lookEvery
		if err := g.keepMost(ctx, offsets, g.releasing); err != nil {
			if ctx.Err() != nil {
				return contextError("consume", ctx, OutcomeNo)
			}
			g.client.log.Warn("ropewalk: what is done could not be committed", "error", err)
			pause = g.config.autoCommit
		}
		g.mayCommitAt = time.Now().Add(pause)
	}
	// What could not be given back is taken at the deadline.
	g.releasing = nil
	g.commitAt = time.Now().Add(g.config.autoCommit)
	return nil
}
