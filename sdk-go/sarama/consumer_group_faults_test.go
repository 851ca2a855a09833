package sarama_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// accepted is the next stream of a member, of which a test says what it brings.
func accepted(t testing.TB, server *testserver.Server) *testserver.Member {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	stream := server.Join(ctx)
	if stream == nil {
		t.Fatal("no member has come")
	}
	stream.Send(&pb.Started{MemberId: "m", Generation: 1})
	return stream
}

func assigned(generation int64, partitions ...int32) *pb.Assignment {
	a := &pb.Assignment{Generation: generation}
	for _, p := range partitions {
		a.Assigned = append(a.Assigned, &pb.PartitionPosition{Topic: "t", Partition: p})
	}
	return a
}

func of(partitions ...int32) *pb.TopicPartitions {
	return &pb.TopicPartitions{Topic: "t", Partitions: partitions}
}

// inMemory is a server with a topic t of two partitions, with messages.
func inMemory(t testing.TB) (*testserver.Server, []string) {
	t.Helper()
	server := newServer(t)
	addrs := []string{server.Address()}
	withTopic(t, addrs[0], 2)
	fill(t, addrs, 2, 3)
	return server, addrs
}

// A session gives back what is to move only once its handler is done with it and that is committed.
// What stays is claimed again, where it is committed.
func TestGroupGivesBackWhatIsCommitted(t *testing.T) {
	server, addrs := inMemory(t)
	config := groupConfig()
	config.Consumer.Offsets.AutoCommit.Interval = time.Hour
	var got read
	release, begins := make(chan struct{}), make(chan int64, 16)
	stop := consuming(t, newGroup(t, addrs, config), handler{
		claim: func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
			begins <- c.InitialOffset()
			err := marking(got.note)(s, c)
			<-release
			return err
		},
	})
	stream := accepted(t, server)
	stream.Send(assigned(2, 0, 1))
	within(t, "all is read", func() bool { return got.count() == 6 })
	stream.Send(&pb.Assignment{Generation: 3, Revoked: []*pb.Revocation{{Partitions: of(0)}}})
	time.Sleep(300 * time.Millisecond) // nothing may happen meanwhile
	if commits := server.MemberCommits(); len(commits) != 0 {
		t.Errorf("the handler is not done, and there is a commit: %v", commits)
	}
	close(release)
	within(t, "it is given back", func() bool { return len(server.MemberCommits()) == 2 })
	commits := server.MemberCommits()
	if len(commits[0].GetOffsets()) != 2 || len(commits[0].GetRelease()) != 0 {
		t.Errorf("at first: %v", commits[0])
	}
	if back := commits[1].GetRelease(); len(back) != 1 || back[0].GetPartitions()[0] != 0 {
		t.Errorf("then: %v", commits[1])
	}
	for _, want := range []int64{0, 0, 3} {
		if at := <-begins; at != want {
			t.Errorf("a claim begins at %d, want %d", at, want)
		}
	}
	stop()
}

// A partition that is taken while it is handled ends the session. What was marked of it is not
// committed, which is told; the rest is.
func TestGroupLosesAPartition(t *testing.T) {
	server, addrs := inMemory(t)
	config := groupConfig()
	config.Consumer.Offsets.AutoCommit.Interval = time.Hour
	group := newGroup(t, addrs, config)
	var got read
	stop := consuming(t, group, handler{claim: marking(got.note)})
	stream := accepted(t, server)
	stream.Send(assigned(2, 0, 1))
	within(t, "all is read", func() bool { return got.count() == 6 })
	stream.Send(&pb.Assignment{Generation: 3, Ended: []*pb.TopicPartitions{of(0)}})
	var told *sarama.ConsumerError
	if err := <-group.Errors(); !errors.As(err, &told) || told.Partition != 0 ||
		!errors.Is(err, sarama.ErrIllegalGeneration) {
		t.Errorf("told: %v", err)
	}
	within(t, "the rest is committed", func() bool { return len(server.MemberCommits()) == 1 })
	offsets := server.MemberCommits()[0].GetOffsets()
	if len(offsets) != 1 || offsets[0].GetPartition() != 1 {
		t.Errorf("committed: %v", offsets)
	}
	stop()
}

// scattered is every twelfth of some partitions: more than can be found one by one with the calls
// that a commit may make.
func scattered(partitions int32) (some []int32) {
	for p := int32(5); p < partitions; p += 12 {
		some = append(some, p)
	}
	return some
}

// many is a session with so many claims of which all are marked.
func many(
	t *testing.T, partitions int32,
) (*testserver.Server, *testserver.Member, sarama.ConsumerGroup, sarama.ConsumerGroupSession) {
	t.Helper()
	server := newServer(t)
	withTopic(t, server.Address(), partitions)
	config := groupConfig()
	config.Consumer.Offsets.AutoCommit.Interval = time.Hour
	group := newGroup(t, []string{server.Address()}, config)
	sessions := make(chan sarama.ConsumerGroupSession, 16)
	consuming(t, group, handler{
		setup: func(s sarama.ConsumerGroupSession) error {
			for _, p := range s.Claims()["t"] {
				s.MarkOffset("t", p, 1, "")
			}
			sessions <- s
			return nil
		},
		claim: marking(func(*sarama.ConsumerMessage) {}),
	})
	stream := accepted(t, server)
	all := make([]int32, partitions)
	for p := range partitions {
		all[p] = p
	}
	stream.Send(assigned(2, all...))
	return server, stream, group, soon(t, "a session", sessions)
}

// committedOf counts the partitions whose offsets members have committed.
func committedOf(server *testserver.Server) int {
	partitions := map[int32]bool{}
	for _, commit := range server.MemberCommits() {
		for _, o := range commit.GetOffsets() {
			partitions[o.GetPartition()] = true
		}
	}
	return len(partitions)
}

// However many of its partitions a member has lost, the offsets of the others are committed, with
// one call.
func TestGroupCommitsBesideWhatIsLost(t *testing.T) {
	const partitions = 240
	server, stream, group, _ := many(t, partitions)
	lost := scattered(partitions)
	stream.Send(&pb.Assignment{Generation: 3, Ended: []*pb.TopicPartitions{of(lost...)}})
	for range lost {
		err := soon(t, "an error", group.Errors())
		if !errors.Is(err, sarama.ErrIllegalGeneration) {
			t.Errorf("told: %v", err)
		}
	}
	within(t, "a commit", func() bool { return len(server.MemberCommits()) > 0 })
	if n := len(server.MemberCommits()[0].GetOffsets()); n != partitions-len(lost) {
		t.Errorf("%d are committed at first", n)
	}
}

// Where a commit finds out only of some partitions that they are another member's, it gives up none
// of the others: the next ones commit those.
func TestGroupCommitsBesideWhatIsRefused(t *testing.T) {
	const partitions = 240
	server, _, group, session := many(t, partitions)
	go func() {
		for range group.Errors() { // one of each partition that is refused
		}
	}()
	refused := scattered(partitions)
	server.Fence(refused...)
	for range 5 {
		session.Commit()
	}
	if n := committedOf(server); n != partitions-len(refused) {
		t.Errorf("%d are committed", n)
	}
}

// A session of a member that has nothing ends too when the group takes it as another one: its id
// would be wrong.
func TestGroupSessionEndsWithItsMemberID(t *testing.T) {
	server, addrs := inMemory(t)
	sessions := make(chan sarama.ConsumerGroupSession, 16)
	consuming(t, newGroup(t, addrs, groupConfig()), handler{
		setup: func(s sarama.ConsumerGroupSession) error { sessions <- s; return nil },
	})
	stream := accepted(t, server)
	stream.Send(assigned(2))
	first := soon(t, "a session", sessions)
	if first.MemberID() != "m" || len(first.Claims()) != 0 {
		t.Errorf("it is %q, with %v", first.MemberID(), first.Claims())
	}
	stream.End(testserver.Status(codes.FailedPrecondition, "MEMBER_FENCED").Err())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if stream = server.Join(ctx); stream == nil {
		t.Fatal("it does not come back")
	}
	stream.Send(&pb.Started{MemberId: "n", Generation: 3})
	stream.Send(assigned(3))
	second := soon(t, "another session", sessions)
	if second.MemberID() != "n" {
		t.Errorf("it is %q", second.MemberID())
	}
	if cause := context.Cause(first.Context()); !errors.Is(cause, sarama.ErrRebalanceInProgress) {
		t.Errorf("cause: %v", cause)
	}
}

// A member that is to give something back when no broker is there does not hold up its Close.
func TestGroupClosesWithoutABroker(t *testing.T) {
	server, addrs := inMemory(t)
	config := groupConfig()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{
		sarama.NewBalanceStrategyCooperativeSticky(),
	}
	group := newGroup(t, addrs, config)
	claiming, ending, goOn := make(chan struct{}), make(chan struct{}), make(chan struct{})
	stop := consuming(t, group, handler{
		claim: func(_ sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
			close(claiming)
			for range c.Messages() { // and nothing is marked
			}
			close(ending)
			<-goOn
			return nil
		},
	})
	stream := accepted(t, server)
	stream.Send(assigned(2, 0))
	soon(t, "a claim", claiming)
	stream.Send(&pb.Assignment{Generation: 3, Revoked: []*pb.Revocation{{Partitions: of(0)}}})
	soon(t, "the end of the claim", ending)
	server.Stop()
	close(goOn)
	began := time.Now()
	closing(t, group)
	if took := time.Since(began); took > config.Net.ReadTimeout/2 {
		t.Errorf("it takes %v", took)
	}
	stop()
}

// A stream that breaks ends no session when the member has what it had; a member that the group
// does not know any more joins anew.
func TestGroupReconnects(t *testing.T) {
	server, addrs := inMemory(t)
	var got read
	sessions := make(chan sarama.ConsumerGroupSession, 16)
	stop := consuming(t, newGroup(t, addrs, groupConfig()), handler{
		setup: func(s sarama.ConsumerGroupSession) error { sessions <- s; return nil },
		claim: marking(got.note),
	})
	stream := accepted(t, server)
	stream.Send(assigned(2, 0))
	first := <-sessions
	within(t, "it is read", func() bool { return got.count() == 3 })
	stream.End(testserver.Status(codes.Unavailable, "BROKER_DRAINING").Err())
	stream = accepted(t, server)
	stream.Send(assigned(2, 0))
	time.Sleep(500 * time.Millisecond) // nothing may happen meanwhile
	if first.Context().Err() != nil {
		t.Errorf("the session has ended: %v", context.Cause(first.Context()))
	}
	stream.End(testserver.Status(codes.FailedPrecondition, "MEMBER_FENCED").Err())
	stream = accepted(t, server)
	if id := stream.Request.GetMember().GetMemberId(); id != "" {
		t.Errorf("it comes back as %s", id)
	}
	<-first.Context().Done()
	if cause := context.Cause(first.Context()); !errors.Is(cause, sarama.ErrRebalanceInProgress) {
		t.Errorf("cause: %v", cause)
	}
	stream.Send(assigned(4, 0, 1))
	if second := <-sessions; len(second.Claims()["t"]) != 2 {
		t.Errorf("it claims %v", second.Claims())
	}
	within(t, "all is read", func() bool { return got.count() == 6 })
	stop()
}

// Joining is tried again as the config says, and a group that cannot be joined is an error of
// Consume.
func TestGroupJoinIsTriedAgain(t *testing.T) {
	server, addrs := inMemory(t)
	config := groupConfig()
	config.Consumer.Group.Rebalance.Retry.Max = 0
	server.RefuseMembers(testserver.Status(codes.InvalidArgument, "INVALID_FIELD").Err())
	group := newGroup(t, addrs, config)
	err := group.Consume(context.Background(), []string{"t"}, handler{})
	if !errors.Is(err, sarama.ErrInvalidRequest) {
		t.Errorf("refused: %v", err)
	}
	server.RefuseMembers(nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- group.Consume(ctx, []string{"t"}, handler{}) }()
	stream := accepted(t, server)
	select {
	case err := <-ended:
		t.Fatalf("it does not wait for the group: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	closing(t, group)
	<-stream.Gone
}

// inOrder keeps which messages came of each partition, as they came.
type inOrder struct {
	mu     sync.Mutex
	count  int
	values map[int32][]string
}

func (o *inOrder) note(m *sarama.ConsumerMessage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.values == nil {
		o.values = map[int32][]string{}
	}
	o.values[m.Partition] = append(o.values[m.Partition], string(m.Value))
	o.count++
}

func (o *inOrder) total() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count
}

// The leader of three real brokers is killed under a group of two members, with a producer at work:
// every message is handled once, those of a partition in their order, and nobody sees an error.
func TestGroupLeaderIsKilled(t *testing.T) {
	const partitions, messages = 3, 300
	brokers := ropewalktest.StartCluster(t)
	var addrs []string
	for _, b := range brokers {
		addrs = append(addrs, b.Address)
	}
	client := withTopic(t, addrs[0], partitions)
	config := groupConfig()
	config.Consumer.Group.Session.Timeout = 30 * time.Second
	config.Metadata.Retry.Max = 1000
	var got inOrder
	var stops []func()
	for range 2 {
		group := newGroup(t, addrs, config)
		reported := make(chan struct{})
		go func() {
			defer close(reported)
			for err := range group.Errors() {
				t.Errorf("reported: %v", err)
			}
		}()
		stop := consuming(t, group, handler{claim: marking(got.note)})
		stops = append(stops, func() { stop(); <-reported })
	}
	within(t, "two members share", func() bool {
		group, err := client.Admin().GetGroup(t.Context(), "g")
		return err == nil && len(group.Members) == 2 && group.State == "stable"
	})
	config = testConfig()
	config.Net.MaxOpenRequests = 1
	config.Producer.Idempotent = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Retry.Max = 1000
	config.Producer.Retry.Backoff = 50 * time.Millisecond
	producer := newProducer(t, addrs, config)
	for n := range messages {
		if n == messages/3 {
			brokers[leads(t, client)].Kill()
		}
		message := text("t", fmt.Sprint(n))
		message.Partition = int32(n % partitions)
		if _, _, err := producer.SendMessage(message); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
	}
	within(t, "all are handled", func() bool { return got.total() >= messages })
	for _, stop := range stops { // what comes twice may come late
		stop()
	}
	for partition := range int32(partitions) {
		values := got.values[partition]
		for i := range max(len(values), messages/partitions) {
			want := fmt.Sprint(i*partitions + int(partition))
			if i >= len(values) || values[i] != want {
				t.Fatalf("message %s of partition %d is due after %v",
					want, partition, values[:min(i, len(values))])
			}
		}
	}
}

// leads is the number of the broker that leads partition 0, from 0.
func leads(t testing.TB, client *ropewalk.Client) int {
	t.Helper()
	_, partitions, err := client.Admin().GetTopic(context.Background(), "t")
	if err != nil || partitions[0].Leader == 0 {
		t.Fatal(partitions, err)
	}
	return int(partitions[0].Leader) - 1
}
