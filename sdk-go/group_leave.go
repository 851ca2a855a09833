package ropewalk

import (
	"context"
	"errors"
	"time"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// goodbyeWithin bounds how long Close waits for the group to let the member go.
const goodbyeWithin = 3 * time.Second

// noteJoined notes that a broker has taken a stream.
func (g *GroupConsumer) noteJoined(s *groupStream) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.joined, g.joinedAs = s, s.started.GetMemberId()
}

// noteEnd notes why a stream has ended, also where nobody reads what it brings: whoever is a member no
// more has nothing to commit, and its id may be that of a successor by now. A stream that another one of
// the member has followed says nothing of that.
func (g *GroupConsumer) noteEnd(s *groupStream, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.joined == s && errors.Is(fromRPC("consume", err), ReasonMemberFenced) {
		g.joinedAs = ""
	}
}

// joinedMember is the member as which a broker knows this one, or "".
func (g *GroupConsumer) joinedMember() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.joinedAs
}

// sayGoodbye has the group let go of the member, whose streams are closed. It would do so by itself:
// but the end of a stream says nothing of when that is, and whoever closes the last member may delete
// the group, or change its offsets, in the next moment.
//
// What comes of it changes nothing for the member: it may be gone already, and where no broker can be
// reached the group will see that nobody is there.
func (g *GroupConsumer) sayGoodbye(ctx context.Context) {
	memberID := g.joinedMember()
	if memberID == "" || g.config.instance != "" || g.client.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, goodbyeWithin)
	defer cancel()
	request := &pb.RemoveConsumerGroupMemberRequest{
		Group:  g.group,
		Member: &pb.RemoveConsumerGroupMemberRequest_MemberId{MemberId: memberID},
	}
	_, err := callOfChild(ctx, g.client, "leave group", true,
		func(ctx context.Context) (*pb.RemoveConsumerGroupMemberResponse, error) {
			return g.client.admins.RemoveConsumerGroupMember(ctx, request)
		})
	if err != nil {
		g.client.log.Debug("ropewalk: a member was not there to leave", "group", g.group, "error", err)
	}
}
