package ropewalk_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// told is what a member that is sent no records was told, in order.
type told chan struct {
	what      string
	positions []ropewalk.Position
}

func (c told) option(what string) func(context.Context, []ropewalk.Position) {
	return func(_ context.Context, positions []ropewalk.Position) {
		c <- struct {
			what      string
			positions []ropewalk.Position
		}{what, positions}
	}
}

func (c told) options(more ...ropewalk.GroupOption) []ropewalk.GroupOption {
	return append(more, ropewalk.GroupAssignmentsOnly(), ropewalk.GroupAssigned(c.option("assigned")),
		ropewalk.GroupRevoked(c.option("revoked")), ropewalk.GroupLost(c.option("lost")))
}

func (c told) expect(t *testing.T, what string, partitions ...int32) []ropewalk.Position {
	t.Helper()
	select {
	case heard := <-c:
		var got []int32
		for _, p := range heard.positions {
			got = append(got, p.Partition)
		}
		if heard.what != what || !slices.Equal(got, partitions) {
			t.Fatalf("told: %s %v, want: %s %v", heard.what, got, what, partitions)
		}
		return heard.positions
	case <-testContext(t).Done():
		t.Fatalf("not told: %s %v", what, partitions)
	}
	return nil
}

// serve runs a member in the background, and ends it with the test.
func serve(t *testing.T, member *ropewalk.GroupConsumer) {
	ended := make(chan error, 1)
	go func() { ended <- member.Serve(context.Background()) }()
	t.Cleanup(func() {
		if err := member.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-ended; !errors.Is(err, ropewalk.ReasonClosed) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// A member that is sent assignments alone gives back when the program says so, commits what it
// says, and keeps what it has when its stream breaks.
func TestGroupServes(t *testing.T) {
	heard := make(told, 16)
	server, member, stream := scripted(t, heard.options()...)
	if !stream.Request.GetAssignmentsOnly() {
		t.Fatal("it asks for records")
	}
	serve(t, member)
	stream.Send(assign(4, nil, nil))
	heard.expect(t, "assigned")
	stream.Send(assign(5, nil, map[int32]int64{0: 7, 1: 0}))
	got := heard.expect(t, "assigned", 0, 1)
	slices.SortFunc(got, func(a, b ropewalk.Position) int { return int(a.Partition - b.Partition) })
	if got[0].Offset != 7 || member.Generation() != 5 {
		t.Errorf("it begins at %v in generation %d", got[0], member.Generation())
	}
	done := got[0]
	done.Offset = 9
	if err := member.CommitOffset(testContext(t), done.ToCommit()); err != nil {
		t.Fatal(err)
	}
	// How far it is, its commits say: the positions lead back to nothing.
	if at := member.Positions(); len(at) != 2 || at[0].Offset != 9 || at[1].Offset != 0 {
		t.Errorf("it is at %v", at)
	}
	stream.Send(assign(6, nil, nil, 0))
	back := heard.expect(t, "revoked", 0)
	if back[0].ToCommit().Offset != 9 {
		t.Errorf("what is revoked is at %v", back[0])
	}
	if len(server.MemberCommits()) != 1 || lastCommit(server, 0) != 9 {
		t.Errorf("the program has not given back yet: %v", server.MemberCommits())
	}
	if err := member.Release(testContext(t), back...); err != nil {
		t.Fatal(err)
	}
	commits := server.MemberCommits()
	if last := commits[len(commits)-1]; !givesBack(last, 0) || len(last.GetOffsets()) != 0 {
		t.Errorf("it gives back: %v", last)
	}
	err := member.CommitOffset(testContext(t), done.ToCommit())
	if !errors.Is(err, ropewalk.ReasonMemberFenced) {
		t.Errorf("a commit of what was given back: %v", err)
	}
	stream.End(testserver.Status(codes.Unavailable, "BROKER_DRAINING").Err())
	stream = accept(t, server, 6)
	if at := stream.Request.GetMember().GetPositions(); len(at) != 1 || at[0].GetPartition() != 1 {
		t.Errorf("it goes on with %v", at)
	}
	stream.Send(assign(6, nil, map[int32]int64{1: 0}))
	heard.expect(t, "assigned")
	stream.Send(assign(7, []int32{1}, nil))
	heard.expect(t, "lost", 1)
}

// What belongs to members that are sent records is refused by others, and the other way round.
func TestGroupServesOrReads(t *testing.T) {
	heard := make(told, 16)
	server, member, stream := scripted(t, heard.options()...)
	serve(t, member)
	stream.Send(assign(5, nil, map[int32]int64{0: 3}))
	heard.expect(t, "assigned", 0)
	ctx := testContext(t)
	for name, err := range map[string]error{
		"poll":   func() error { _, err := member.Poll(ctx); return err }(),
		"commit": member.Commit(ctx),
	} {
		if !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, option := range map[string]ropewalk.GroupOption{
		"gap handler": ropewalk.GroupGap(func(ropewalk.Gap) {}),
		"in flight":   ropewalk.GroupInFlight(1, 0),
	} {
		_, err := dial(t, server.Address()).JoinGroup(ctx, "g",
			ropewalk.GroupTopics("t"), ropewalk.GroupAssignmentsOnly(), option)
		if !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, reader, _ := scripted(t)
	for name, err := range map[string]error{
		"serve": reader.Serve(ctx), "release": reader.Release(ctx),
	} {
		if !errors.Is(err, ropewalk.ReasonInvalidField) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
}

// Two members of a real group share, and what one gives back the other goes on with where that was
// committed.
func TestGroupServesBesideAnother(t *testing.T) {
	client := dial(t, ropewalktest.Start(t).Address)
	ctx := testContext(t)
	if _, err := client.Admin().CreateTopic(ctx, "t", 2); err != nil {
		t.Fatal(err)
	}
	fillPartitions(t, client, 2, 20)
	options := []ropewalk.GroupOption{ropewalk.GroupDrainTimeout(time.Minute)}
	heard := make(told, 16)
	first := join(t, client, heard.options(options...)...)
	serve(t, first)
	got := heard.expect(t, "assigned", 0, 1)
	if got[0].HighWatermark != 10 {
		t.Errorf("it is told %+v", got)
	}
	for _, p := range got {
		p.Offset = 5
		if err := first.CommitOffset(ctx, p.ToCommit()); err != nil {
			t.Fatal(err)
		}
	}
	heardToo := make(told, 16)
	second := join(t, client, heardToo.options(options...)...)
	serve(t, second)
	heardToo.expect(t, "assigned")
	var back []ropewalk.Position
	select {
	case move := <-heard:
		if back = move.positions; move.what != "revoked" || len(back) != 1 {
			t.Fatalf("%+v", move)
		}
	case <-ctx.Done():
		t.Fatal("nothing is revoked")
	}
	if err := first.Release(ctx, back...); err != nil {
		t.Fatal(err)
	}
	if got = heardToo.expect(t, "assigned", back[0].Partition); got[0].Offset != 5 {
		t.Errorf("the other goes on at %+v", got)
	}
}
