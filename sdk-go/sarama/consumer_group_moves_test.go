package sarama_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// A session has the member's id, also after the group has lost the member: it begins only when the
// group has taken it again.
func TestGroupWaitsForItsMemberID(t *testing.T) {
	server, addrs := inMemory(t)
	sessions := make(chan sarama.ConsumerGroupSession, 16)
	stop := consuming(t, newGroup(t, addrs, groupConfig()), handler{
		setup: func(s sarama.ConsumerGroupSession) error { sessions <- s; return nil },
		claim: func(s sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) error {
			<-s.Context().Done() // and nothing is marked, of which the loss would be an error
			return nil
		},
	})
	defer stop()
	stream := accepted(t, server)
	stream.Send(assigned(2, 0))
	first := <-sessions
	stream.End(testserver.Status(codes.FailedPrecondition, "MEMBER_FENCED").Err())
	<-first.Context().Done()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if stream = server.Join(ctx); stream == nil {
		t.Fatal("it does not come back")
	}
	select {
	case s := <-sessions:
		t.Errorf("a session has begun as %q", s.MemberID())
	case <-time.After(1500 * time.Millisecond): // longer than a member that has nothing waits
	}
	stream.Send(&pb.Started{MemberId: "n", Generation: 3})
	stream.Send(assigned(3, 1))
	select {
	case s := <-sessions:
		if s.MemberID() != "n" || !slices.Equal(s.Claims()["t"], []int32{1}) {
			t.Errorf("it is %q, with %v", s.MemberID(), s.Claims())
		}
	case <-time.After(patience):
		t.Fatal("no session begins")
	}
}

// released are the partitions that were given back.
func released(server *testserver.Server) (partitions []int32) {
	for _, commit := range server.MemberCommits() {
		for _, back := range commit.GetRelease() {
			partitions = append(partitions, back.GetPartitions()...)
		}
	}
	return partitions
}

// allTaken waits until a member has taken what its stream has brought: a plan is asked for behind
// that, and the member answers. Its strategy is one of the program's own.
func allTaken(t *testing.T, server *testserver.Server, stream *testserver.Member) {
	t.Helper()
	before := len(server.Plans())
	stream.Send(&pb.PlanRequest{PlanId: 1})
	within(t, "the member plans", func() bool { return len(server.Plans()) > before })
}

// A partition that comes and goes before the session has looked is given back at once, and the
// session goes on.
func TestGroupGivesBackWhatCameAndWent(t *testing.T) {
	for name, protocol := range map[string]sarama.RebalanceProtocol{
		"eager": sarama.RebalanceProtocolEager, "cooperative": sarama.RebalanceProtocolCooperative,
	} {
		t.Run(name, func(t *testing.T) {
			server, addrs := inMemory(t)
			config := groupConfig()
			config.Consumer.Group.Rebalance.GroupStrategies =
				[]sarama.BalanceStrategy{speaks{protocol}}
			setups, goOn := make(chan sarama.ConsumerGroupSession, 16), make(chan struct{})
			stop := consuming(t, newGroup(t, addrs, config), handler{
				setup: func(s sarama.ConsumerGroupSession) error {
					setups <- s
					<-goOn
					return nil
				},
				claim: marking(func(*sarama.ConsumerMessage) {}),
			})
			defer stop()
			stream := accepted(t, server)
			stream.Send(assigned(2, 0))
			session := <-setups
			stream.Send(assigned(3, 1))
			stream.Send(&pb.Assignment{Generation: 4, Revoked: []*pb.Revocation{{Partitions: of(1)}}})
			allTaken(t, server, stream)
			close(goOn)
			within(t, "it is given back", func() bool {
				return slices.Equal(released(server), []int32{1})
			})
			if session.Context().Err() != nil {
				t.Errorf("the session has ended: %v", context.Cause(session.Context()))
			}
		})
	}
}

// cooperating is a strategy of the program's own, which hears what its member claims.
type cooperating struct {
	speaks
	mu   sync.Mutex
	told []int32
}

func (c *cooperating) OnAssignment(a *sarama.ConsumerGroupMemberAssignment, _ int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, a.Topics["t"]...)
}

// What is revoked while other claims end, and was new, is not claimed any more.
func TestGroupClaimsNothingThatHasGone(t *testing.T) {
	server, addrs := inMemory(t)
	config := groupConfig()
	strategy := &cooperating{speaks: speaks{sarama.RebalanceProtocolCooperative}}
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	claims, ending, goOn := make(chan int32, 16), make(chan struct{}, 16), make(chan struct{})
	stop := consuming(t, newGroup(t, addrs, config), handler{
		claim: func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
			claims <- c.Partition()
			for range c.Messages() {
			}
			ending <- struct{}{}
			<-goOn
			return nil
		},
	})
	stream := accepted(t, server)
	stream.Send(assigned(2, 0))
	if partition := <-claims; partition != 0 {
		t.Errorf("it claims %d", partition)
	}
	move := assigned(3, 1)
	move.Revoked = []*pb.Revocation{{Partitions: of(0)}}
	stream.Send(move)
	<-ending
	stream.Send(&pb.Assignment{Generation: 4, Revoked: []*pb.Revocation{{Partitions: of(1)}}})
	allTaken(t, server, stream)
	close(goOn)
	within(t, "both are given back", func() bool { return len(released(server)) == 2 })
	stop()
	if len(claims) > 0 || slices.Contains(strategy.told, 1) {
		t.Errorf("it has claimed partition 1: %v", strategy.told)
	}
}
