package ropewalk_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// A member that is closed has the group let go of it, and commits before.
func TestClosedMemberSaysGoodbye(t *testing.T) {
	server, member, stream := scripted(t)
	stream.Send(assign(5, nil, map[int32]int64{0: 0}))
	stream.Send(batch(0, 0, 1))
	next(t, member, 0, 0)
	if err := member.Close(); err != nil {
		t.Fatal(err)
	}
	if last := lastCommit(server, 0); last != 1 || !slices.Equal(server.Removed(), []string{"m"}) {
		t.Errorf("%d is committed, and %q were removed", last, server.Removed())
	}
}

// A member whose id another has by now, and which has not read of that, leaves that one alone when it
// is closed: it commits nothing as it, and does not have it removed.
func TestClosedMemberLeavesItsSuccessorAlone(t *testing.T) {
	server, member, stream := scripted(t, ropewalk.GroupAutoCommit(time.Hour))
	stream.Send(assign(5, nil, map[int32]int64{0: 0}))
	stream.Send(batch(0, 0, 1))
	next(t, member, 0, 0)
	stream.End(testserver.Status(codes.FailedPrecondition, "MEMBER_FENCED").Err())
	for deadline := time.Now().Add(10 * time.Second); member.JoinedMember() != ""; {
		if time.Now().After(deadline) {
			t.Fatal("it has not heard of its end")
		}
		time.Sleep(time.Millisecond)
	}
	if err := member.Close(); err != nil {
		t.Error(err)
	}
	if len(server.MemberCommits()) > 0 || len(server.Removed()) > 0 {
		t.Errorf("it commits %v, and removes %q", server.MemberCommits(), server.Removed())
	}
}
