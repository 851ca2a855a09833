package ropewalk

import (
	"context"
	"errors"
	"time"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// goodbyeWithin bounds how long Close waits for the group to let the member go.
const goodbyeWithin = 3 * time.Second

// sayGoodbye has the group let go of the member, whose streams are closed. It would do so by itself:
// but the end of a stream says nothing of when that is, and whoever closes the last member may delete
// the group, or change its offsets, in the next moment.
//
// It is asked once. What comes of it changes nothing for the member: it may be gone already, and where
// no broker can be reached the group will see that nobody is there.
func (g *GroupConsumer) sayGoodbye(ctx context.Context) {
	memberID := g.MemberID()
	if memberID == "" || g.config.instance != "" || g.client.ctx.Err() != nil ||
		errors.Is(g.Err(), ReasonMemberFenced) { // its id may be that of a successor
		return
	}
	ctx, cancel := context.WithTimeout(ctx, goodbyeWithin)
	defer cancel()
	defer context.AfterFunc(g.client.ctx, cancel)()
	_, err := g.client.admins.RemoveConsumerGroupMember(ctx, &pb.RemoveConsumerGroupMemberRequest{
		Group:  g.group,
		Member: &pb.RemoveConsumerGroupMemberRequest_MemberId{MemberId: memberID},
	})
	if err != nil {
		g.client.log.Debug("ropewalk: a member was not there to leave", "group", g.group, "error", err)
	}
}
