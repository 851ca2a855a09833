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

// isTaken reports whether a member has ended for good, as another one has its instance name.
func isTaken(err error) bool {
	var e *ropewalk.Error
	return errors.As(err, &e) && e.InstanceTaken() && e.Fatal() && !e.Retriable() &&
		errors.Is(err, ropewalk.ReasonMemberFenced)
}

// nothingComes checks that no stream is opened for a while.
func nothingComes(t *testing.T, server *testserver.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if stream := server.Join(ctx); stream != nil {
		t.Errorf("it joins again as %v", stream.Request.GetMember())
	}
}

// A member whose instance name another has taken tells what it has lost, and has ended: whether it
// hears so over its stream, or when it comes back. It would take the name back if it joined anew.
func TestGroupInstanceIsTaken(t *testing.T) {
	taken := testserver.Status(
		codes.FailedPrecondition, "MEMBER_FENCED", "cause", "instance_taken").Err()
	broke := testserver.Status(codes.Unavailable, "BROKER_DRAINING").Err()
	for name, away := range map[string]bool{"over its stream": false, "when it comes back": true} {
		t.Run(name, func(t *testing.T) {
			var member *ropewalk.GroupConsumer
			var lost []ropewalk.Position
			server, member, stream := scripted(t, ropewalk.GroupInstance("one"),
				ropewalk.GroupLost(func(_ context.Context, positions []ropewalk.Position) {
					if !isTaken(member.Err()) {
						t.Errorf("what is lost is told with %v", member.Err())
					}
					lost = append(lost, positions...)
				}))
			stream.Send(assign(5, nil, map[int32]int64{0: 3, 1: 7}))
			stream.Send(batch(0, 3, 2))
			next(t, member, 0, 3)
			if err := member.Err(); err != nil {
				t.Errorf("it goes on, with %v", err)
			}
			if away {
				stream.End(broke)
				go func() {
					if back := server.Join(testContext(t)); back != nil {
						back.End(taken)
					}
				}()
			} else {
				stream.End(taken)
			}
			for err := error(nil); !isTaken(err); {
				if _, err = member.Next(testContext(t)); err != nil && !isTaken(err) {
					t.Fatal(err)
				}
			}
			if len(lost) != 2 || lost[0].Offset < 4 || lost[1].Offset != 7 {
				t.Errorf("it has lost %v", lost)
			}
			if id := member.MemberID(); id != "m" || len(member.Positions()) != 0 {
				t.Errorf("it is %q, and has %v", id, member.Positions())
			}
			if _, err := member.Poll(testContext(t)); !isTaken(err) {
				t.Errorf("asked again: %v", err)
			}
			nothingComes(t, server)
			if err := member.Close(); err != nil {
				t.Error(err)
			}
			if commits := server.MemberCommits(); len(commits) != 0 {
				t.Errorf("committed: %v", commits)
			}
		})
	}
}

// The same for a member that is sent no records. One that was fenced for another reason goes on.
func TestGroupInstanceIsTakenFromOneThatServes(t *testing.T) {
	heard := make(told, 16)
	server, member, stream := scripted(t, heard.options(ropewalk.GroupInstance("one"))...)
	ended := make(chan error, 1)
	go func() { ended <- member.Serve(testContext(t)) }()
	stream.Send(assign(5, nil, map[int32]int64{0: 3}))
	heard.expect(t, "assigned", 0)
	stream.End(testserver.Status(codes.FailedPrecondition, "MEMBER_FENCED").Err())
	heard.expect(t, "lost", 0)
	stream = accept(t, server, 6)
	if id := stream.Request.GetMember().GetMemberId(); id != "" {
		t.Errorf("it joins anew as %s", id)
	}
	stream.Send(assign(6, nil, map[int32]int64{0: 3}))
	heard.expect(t, "assigned", 0)
	stream.End(testserver.Status(
		codes.FailedPrecondition, "MEMBER_FENCED", "cause", "instance_taken").Err())
	heard.expect(t, "lost", 0)
	if err := <-ended; !isTaken(err) {
		t.Errorf("it ended with %v", err)
	}
	nothingComes(t, server)
	if err := member.Close(); err != nil {
		t.Error(err)
	}
}

// Of two processes with one instance name the newer has it. The older ends, and the newer is not
// disturbed any more. What comes back as the older one is refused; a third takes the name again.
func TestGroupInstanceOfTwo(t *testing.T) {
	client := dial(t, ropewalktest.Start(t).Address)
	ctx := testContext(t)
	if _, err := client.Admin().CreateTopic(ctx, "t", 2); err != nil {
		t.Fatal(err)
	}
	fillPartitions(t, client, 2, 2)
	one := ropewalk.GroupInstance("one")
	read := func(member *ropewalk.GroupConsumer, partitions int) {
		t.Helper()
		for seen := map[int32]bool{}; len(seen) < partitions; {
			record, err := member.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			seen[record.Partition] = true
		}
	}
	older := join(t, client, one, ropewalk.GroupManualCommit())
	read(older, 2)
	newer := join(t, client, one, ropewalk.GroupManualCommit())
	read(newer, 2)
	if _, err := older.Next(ctx); !isTaken(err) {
		t.Fatalf("the older one ends with %v", err)
	}
	generation := newer.Generation()
	_, err := client.JoinGroup(ctx, "g",
		ropewalk.GroupTopics("t"), one, ropewalk.GroupMemberID(older.MemberID()))
	if !isTaken(err) {
		t.Errorf("who comes back: %v", err)
	}
	idle(t, newer, time.Second)
	members := described(t, client).Members
	if len(members) != 1 || members[0].ID != newer.MemberID() || newer.Generation() != generation {
		t.Errorf("it is disturbed: generation %d, then %d of %v",
			generation, newer.Generation(), members)
	}
	third := join(t, client, one, ropewalk.GroupManualCommit())
	read(third, 2)
	if _, err := newer.Next(ctx); !isTaken(err) {
		t.Errorf("the one before ends with %v", err)
	}
	for _, member := range []*ropewalk.GroupConsumer{older, newer, third} {
		if err := member.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A member that comes back under its id has what it had, and nothing moves.
func TestGroupMemberIDComesBack(t *testing.T) {
	client := dial(t, ropewalktest.Start(t).Address)
	ctx := testContext(t)
	if _, err := client.Admin().CreateTopic(ctx, "t", 2); err != nil {
		t.Fatal(err)
	}
	heard, heardToo := make(told, 16), make(told, 16)
	static := []ropewalk.GroupOption{
		ropewalk.GroupInstance("one"), ropewalk.GroupRejoinGrace(time.Minute),
	}
	first := join(t, client, heard.options(static...)...)
	serving := make(chan error, 1)
	go func() { serving <- first.Serve(ctx) }()
	heard.expect(t, "assigned", 0, 1)
	id := first.MemberID()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	<-serving
	back := join(t, client, heardToo.options(append(static, ropewalk.GroupMemberID(id))...)...)
	serve(t, back)
	heardToo.expect(t, "assigned", 0, 1)
	members := described(t, client).Members
	if back.MemberID() != id || !slices.ContainsFunc(members, func(m ropewalk.GroupMember) bool {
		return m.ID == id && len(m.Assigned) == 2
	}) {
		t.Errorf("it is %s, not %s, of %v", back.MemberID(), id, members)
	}
	_, err := client.JoinGroup(ctx, "other", ropewalk.GroupTopics("t"), ropewalk.GroupMemberID(id))
	if !errors.Is(err, ropewalk.ReasonMemberFenced) || isTaken(err) {
		t.Errorf("of a group that does not know it: %v", err)
	}
}

func described(t *testing.T, client *ropewalk.Client) *ropewalk.GroupDescription {
	t.Helper()
	group, err := client.Admin().GetGroup(testContext(t), "g")
	if err != nil {
		t.Fatal(err)
	}
	return group
}
