package ropewalk_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// scripted is a member whose stream a test writes event by event.
func scripted(
	t *testing.T, options ...ropewalk.GroupOption,
) (*testserver.Server, *ropewalk.GroupConsumer, *testserver.Member) {
	t.Helper()
	return scriptedFor(t, nil, options...)
}

// scriptedFor is scripted for a client with options.
func scriptedFor(
	t *testing.T, ofClient []ropewalk.ClientOption, options ...ropewalk.GroupOption,
) (*testserver.Server, *ropewalk.GroupConsumer, *testserver.Member) {
	t.Helper()
	server := newServer(t)
	client := dial(t, server.Address(), ofClient...)
	streams := make(chan *testserver.Member, 1)
	go func() { streams <- accept(t, server, 4) }()
	consumer := join(t, client, options...)
	return server, consumer, <-streams
}

func accept(t *testing.T, server *testserver.Server, generation int64) *testserver.Member {
	stream := server.Join(testContext(t))
	if stream == nil {
		t.Error("no member has come")
		return nil
	}
	stream.Send(&pb.Started{MemberId: "m", Generation: generation})
	return stream
}

func assign(generation int64, ended []int32, assigned map[int32]int64, revoked ...int32) *pb.Assignment {
	a := &pb.Assignment{
		Generation: generation,
		Ended:      []*pb.TopicPartitions{{Topic: "t", Partitions: ended}},
		Revoked: []*pb.Revocation{
			{Partitions: &pb.TopicPartitions{Topic: "t", Partitions: revoked}},
		},
	}
	for _, partition := range slices.Sorted(maps.Keys(assigned)) {
		a.Assigned = append(a.Assigned,
			&pb.PartitionPosition{Topic: "t", Partition: partition, Offset: assigned[partition]})
	}
	return a
}

func batch(partition int32, base int64, count int) *pb.RecordBatch {
	set := &pb.RecordSet{}
	for range count {
		set.Records = append(set.Records, &pb.Record{Value: []byte("x")})
	}
	return &pb.RecordBatch{
		Topic: "t", Partition: partition, BaseOffset: base, RecordCount: int32(count),
		Compression: pb.Compression_COMPRESSION_NONE, Data: &pb.RecordBatch_Records{Records: set},
	}
}

func next(t *testing.T, member *ropewalk.GroupConsumer, partition int32, offset int64) *ropewalk.Record {
	t.Helper()
	record, err := member.Next(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if record.Partition != partition || record.Offset != offset {
		t.Fatalf("got %d at %d, want %d at %d", record.Partition, record.Offset, partition, offset)
	}
	return record
}

// idle asks for more for a while, where there is none.
func idle(t *testing.T, member *ropewalk.GroupConsumer, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if record, err := member.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v, %v", record, err)
	}
}

func givesBack(r *pb.CommitOffsetRequest, partition int32) bool {
	return slices.ContainsFunc(r.GetRelease(), func(t *pb.TopicPartitions) bool {
		return slices.Contains(t.GetPartitions(), partition)
	})
}

func lastCommit(server *testserver.Server, partition int32) int64 {
	last := int64(-1)
	for _, commit := range server.MemberCommits() {
		for _, o := range commit.GetOffsets() {
			if o.GetPartition() == partition {
				last = o.GetOffset()
			}
		}
	}
	return last
}

// A member that is slow commits, and gives back what it is to, in the middle of a batch.
func TestGroupLooksWhileItHandles(t *testing.T) {
	server, member, stream := scripted(t, ropewalk.GroupAutoCommit(200*time.Millisecond))
	stream.Send(assign(5, nil, map[int32]int64{0: 0, 1: 0}))
	stream.Send(batch(0, 0, 10_000))
	offset := int64(0)
	for ; lastCommit(server, 0) < 0; offset++ {
		if offset > 1_000 {
			t.Fatal("nothing is committed")
		}
		next(t, member, 0, offset)
		time.Sleep(5 * time.Millisecond)
	}
	stream.Send(assign(6, nil, nil, 0))
	stream.Send(batch(1, 0, 1))
	for ; ; offset++ {
		if offset > 2_000 {
			t.Fatal("it goes on with what it is to give back")
		}
		record, err := member.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if record.Partition == 1 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	commits := server.MemberCommits()
	i := slices.IndexFunc(commits, func(r *pb.CommitOffsetRequest) bool { return givesBack(r, 0) })
	if i < 0 || lastCommit(server, 0) != offset || commits[i].GetGeneration() != 6 {
		t.Errorf("it was given all before %d, and gives back: %v", offset, commits)
	}
}

// What was handed out in an earlier era is not committed in this one, whoever holds it.
func TestGroupCommitsInTheEraOfTheRecord(t *testing.T) {
	server, member, stream := scripted(t, ropewalk.GroupManualCommit())
	ctx := testContext(t)
	stream.Send(assign(5, nil, map[int32]int64{0: 100}))
	stream.Send(batch(0, 100, 4_000))
	record := next(t, member, 0, 100)
	held := member.Positions()
	// It goes, another member commits 5,000, and it comes back; what was at hand is dropped.
	stream.Send(assign(7, []int32{0}, map[int32]int64{0: 5_000}))
	stream.Send(batch(0, 5_000, 1))
	for member.Positions()[0].Offset != 5_001 {
		if at, err := member.Next(ctx); err != nil || at.Offset > 2_000 && at.Offset < 5_000 {
			t.Fatalf("it reads on what it has lost: %v, %v", at, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, stale := range []ropewalk.CommittedOffset{record.ToCommit(), held[0].ToCommit()} {
		if err := member.CommitOffset(ctx, stale); !errors.Is(err, ropewalk.ReasonMemberFenced) {
			t.Errorf("%+v is of another era: %v", stale, err)
		}
	}
	if commits := server.MemberCommits(); len(commits) != 0 {
		t.Errorf("%v", commits)
	}
	if err := member.Commit(ctx); err != nil || lastCommit(server, 0) != 5_001 {
		t.Errorf("%v, %v", err, server.MemberCommits())
	}
}

// A partition that is lost costs the others no commit, and one that was given back is no part of one.
func TestGroupCommitsWhatItCan(t *testing.T) {
	server, member, stream := scripted(t, ropewalk.GroupAutoCommit(100*time.Millisecond))
	// Partition 2 is another's by now, and 4 was cut by whoever leads it.
	server.Fence(2)
	server.EndBefore(4)
	stream.Send(assign(5, nil, map[int32]int64{0: 0, 1: 0, 2: 0, 3: 0, 4: 0}))
	for partition := range int32(5) {
		stream.Send(batch(partition, 0, 1))
		next(t, member, partition, 0)
	}
	stream.Send(assign(6, nil, nil, 3))
	idle(t, member, 500*time.Millisecond)
	for partition := range int32(5) {
		if kept := lastCommit(server, partition); (kept == 1) == (partition == 2 || partition == 4) {
			t.Errorf("partition %d: %d", partition, kept)
		}
	}
	if !slices.ContainsFunc(server.MemberCommits(), func(r *pb.CommitOffsetRequest) bool {
		return givesBack(r, 3)
	}) {
		t.Error("partition 3 is not given back")
	}
	server.Fence(2, 3)
	server.EndBefore()
	if err := member.Commit(testContext(t)); err != nil {
		t.Errorf("they were given back, or refused: %v", err)
	}
}

// What was read ahead of a partition is dropped when its commit is refused: it is another member's.
func TestGroupDropsWhatIsRefused(t *testing.T) {
	lost := make(chan []ropewalk.Position, 1)
	server, member, stream := scripted(t, ropewalk.GroupAutoCommit(100*time.Millisecond),
		ropewalk.GroupLost(func(_ context.Context, p []ropewalk.Position) { lost <- p }))
	server.Fence(0)
	stream.Send(assign(5, nil, map[int32]int64{0: 0, 1: 0}))
	stream.Send(batch(0, 0, 5_000))
	stream.Send(batch(0, 5_000, 5_000))
	stream.Send(batch(1, 0, 1))
	for {
		record, err := member.Next(testContext(t))
		if err != nil || record.Offset > 1_000 {
			t.Fatalf("it reads on what is another's: %v, %v", record, err)
		}
		if record.Partition == 1 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	idle(t, member, 300*time.Millisecond)
	if p := member.Positions(); len(p) != 1 || p[0].Partition != 1 {
		t.Errorf("%+v", p)
	}
	// The broker says so in the end, and that it has it again.
	server.Fence()
	stream.Send(assign(7, []int32{0}, nil))
	stream.Send(assign(8, nil, map[int32]int64{0: 7_000}))
	stream.Send(batch(0, 7_000, 1))
	next(t, member, 0, 7_000)
	if p := <-lost; len(p) != 1 || p[0].Partition != 0 {
		t.Errorf("%+v", p)
	}
}

// What was given back without an answer is not lost, although the next try is refused; also when the
// calls that tried it were given up.
func TestGroupGivesBackWithoutAnAnswer(t *testing.T) {
	for name, patience := range map[string]time.Duration{"waits": time.Second, "gives up": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			server, member, stream := scripted(t,
				ropewalk.GroupLost(func(_ context.Context, p []ropewalk.Position) {
					t.Errorf("it is told of %+v", p)
				}))
			stream.Send(assign(5, nil, map[int32]int64{0: 0, 1: 0}))
			stream.Send(batch(0, 0, 1))
			next(t, member, 0, 0)
			server.LoseAnswers(1)
			stream.Send(assign(6, nil, nil, 0))
			for len(server.MemberCommits()) == 0 {
				idle(t, member, patience)
			}
			idle(t, member, time.Second)
			if p := member.Positions(); len(p) != 1 {
				t.Errorf("it was given back: %+v", p)
			}
			stream.Send(assign(7, []int32{0}, nil))
			stream.Send(batch(1, 0, 1))
			next(t, member, 1, 0)
			if err := member.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// More partitions than a request may name are committed, and given back, in several.
func TestGroupCommitsInParts(t *testing.T) {
	const partitions = 10_001
	server, member, stream := scripted(t, ropewalk.GroupManualCommit())
	all, names := map[int32]int64{}, []int32{}
	for partition := range int32(partitions) {
		all[partition] = 0
		names = append(names, partition)
	}
	stream.Send(assign(5, nil, all))
	for len(member.Positions()) < partitions {
		idle(t, member, 100*time.Millisecond)
	}
	if err := member.Commit(testContext(t)); err != nil {
		t.Fatal(err)
	}
	stream.Send(assign(6, nil, nil, names...))
	// A call that was given up is made again: so each partition counts once.
	committed, released := 0, map[int32]bool{}
	for until := time.Now().Add(20 * time.Second); len(released) < partitions && time.Now().Before(until); {
		idle(t, member, time.Second)
		committed = 0
		for _, r := range server.MemberCommits() {
			if len(r.GetOffsets()) > 10_000 || len(r.GetRelease()) > 10_000 {
				t.Errorf("%d and %d in one request", len(r.GetOffsets()), len(r.GetRelease()))
			}
			committed += len(r.GetOffsets())
			for _, of := range r.GetRelease() {
				released[of.GetPartitions()[0]] = true
			}
		}
	}
	if committed != partitions || len(released) != partitions {
		t.Errorf("%d are committed, %d given back", committed, len(released))
	}
}

// A handler has time to commit, however short the call is that runs it.
func TestGroupHandlersOutliveTheirCall(t *testing.T) {
	var member *ropewalk.GroupConsumer
	told := make(chan error, 1)
	server, member, stream := scripted(t, ropewalk.GroupManualCommit(),
		ropewalk.GroupRevoked(func(ctx context.Context, p []ropewalk.Position) {
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
			told <- member.CommitOffset(ctx, p[0].ToCommit())
		}))
	stream.Send(assign(5, nil, map[int32]int64{0: 0}))
	stream.Send(batch(0, 0, 1))
	next(t, member, 0, 0)
	stream.Send(assign(6, nil, nil, 0))
	for len(told) == 0 {
		idle(t, member, 50*time.Millisecond)
	}
	if err := <-told; err != nil || lastCommit(server, 0) != 1 {
		t.Errorf("%v, %v", err, server.MemberCommits())
	}
	for len(member.Positions()) > 0 {
		idle(t, member, 50*time.Millisecond)
	}
}

// A member that gets what it cannot read ends, and holds on to nothing.
func TestGroupLeavesWithWhatItCannotRead(t *testing.T) {
	_, member, stream := scripted(t)
	stream.Send(assign(5, nil, map[int32]int64{0: 0}))
	broken := batch(0, 0, 2)
	broken.RecordCount = 3
	stream.Send(broken)
	for range 2 {
		record, err := member.Next(testContext(t))
		if !errors.Is(err, ropewalk.ReasonCorruptBatch) {
			t.Fatalf("%v, %v", record, err)
		}
	}
	select {
	case <-stream.Gone:
	case <-testContext(t).Done():
		t.Error("it stays in the group")
	}
}

// Handlers, and others while a call waits, may seek and pause; nobody waits for the reader.
func TestGroupSeeksFromAnywhere(t *testing.T) {
	var member *ropewalk.GroupConsumer
	tp := ropewalk.TopicPartition{Topic: "t"}
	var assigned atomic.Int32
	server, member, stream := scripted(t, ropewalk.GroupManualCommit(),
		ropewalk.GroupAssigned(func(context.Context, []ropewalk.Position) {
			if assigned.Add(1) == 1 {
				member.Seek(tp, 7)
			}
		}))
	stream.Send(assign(5, nil, map[int32]int64{0: 0}))
	stream.Send(batch(0, 0, 1))
	read := make(chan *ropewalk.Record, 1)
	go func() {
		record, err := member.Next(testContext(t))
		if err != nil {
			t.Error(err)
		}
		read <- record
	}()
	again := accept(t, server, 5)
	if at := again.Request.GetMember().GetPositions()[0]; at.GetOffset() != 7 {
		t.Fatalf("it goes on at %v", at)
	}
	again.Send(assign(5, nil, map[int32]int64{0: 7}))
	again.Send(batch(0, 7, 1))
	if record := <-read; record == nil || record.Offset != 7 {
		t.Fatalf("%v", record)
	}
	member.Pause(tp)
	go func() {
		record, err := member.Next(testContext(t))
		if err != nil {
			t.Error(err)
		}
		read <- record
	}()
	paused := accept(t, server, 5)
	if !paused.Request.GetMember().GetPositions()[0].GetPaused() {
		t.Error("it is not paused")
	}
	paused.Send(assign(5, nil, map[int32]int64{0: 8}))
	member.Resume(tp)
	resumed := accept(t, server, 5)
	resumed.Send(assign(5, nil, map[int32]int64{0: 8}))
	resumed.Send(batch(0, 8, 1))
	if record := <-read; record == nil || record.Offset != 8 {
		t.Fatalf("%v", record)
	}
}

// A stream that counts as lost stays open until the next one has its place: one that is closed leaves the
// group. Until its first assignment the next one claims nothing new.
func TestGroupKeepsItsPlace(t *testing.T) {
	server, member, stream := scripted(t,
		ropewalk.GroupManualCommit(), ropewalk.GroupHeartbeat(100*time.Millisecond))
	stream.Send(assign(5, nil, map[int32]int64{0: 0}))
	stream.Send(batch(0, 0, 10))
	next(t, member, 0, 0)
	server.RefuseMembers(testserver.Status(codes.Unavailable, "NO_LEADER").Err())
	// Nothing is heard for three heartbeats, and what is at hand is handed out meanwhile.
	for offset := range int64(9) {
		next(t, member, 0, offset+1)
	}
	idle(t, member, time.Second)
	select {
	case <-stream.Gone:
		t.Fatal("it has left")
	default:
	}
	server.RefuseMembers(nil)
	read := make(chan error, 1)
	go func() {
		record, err := member.Next(testContext(t))
		if err == nil && record.Offset != 500 {
			err = errors.New("it is not the first of its era")
		}
		read <- err
	}()
	again := accept(t, server, 12)
	if m := again.Request.GetMember(); m.GetMemberId() != "m" || m.GetGeneration() != 5 ||
		m.GetPositions()[0].GetOffset() != 10 {
		t.Errorf("%v", m)
	}
	<-stream.Gone
	again.End(testserver.Status(codes.Unavailable, "BROKER_DRAINING").Err())
	third := accept(t, server, 12)
	if generation := third.Request.GetMember().GetGeneration(); generation != 5 {
		t.Errorf("no assignment has told generation %d", generation)
	}
	third.Send(assign(12, nil, map[int32]int64{0: 500}))
	third.Send(batch(0, 500, 1))
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// Closing the client closes its members, and those commit what is done.
func TestGroupCommitsWhenItsClientIsClosed(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	streams := make(chan *testserver.Member, 1)
	go func() { streams <- accept(t, server, 4) }()
	member := join(t, client)
	stream := <-streams
	stream.Send(assign(5, nil, map[int32]int64{0: 0}))
	stream.Send(batch(0, 0, 3))
	next(t, member, 0, 0)
	next(t, member, 0, 1)
	if err := client.Close(); err != nil || lastCommit(server, 0) != 2 {
		t.Errorf("%v, %v", err, server.MemberCommits())
	}
}

// A member answers when it is asked for a plan.
func TestGroupPlans(t *testing.T) {
	planner := func(r ropewalk.PlanRequest) ropewalk.GroupPlan {
		plan := ropewalk.GroupPlan{}
		for topic, count := range r.Topics {
			for partition := range count {
				id := r.Members[int(partition)%len(r.Members)].ID
				plan[id] = append(plan[id], ropewalk.TopicPartition{Topic: topic, Partition: partition})
			}
		}
		return plan
	}
	server, member, stream := scripted(t, ropewalk.GroupPlanner("turns", planner))
	if strategy := stream.Request.GetMember().GetStrategy(); strategy != "client:turns" {
		t.Error(strategy)
	}
	stream.Send(&pb.PlanRequest{
		PlanId: 7, Topics: []*pb.PlanTopic{{Topic: "t", PartitionCount: 3}},
		Members: []*pb.PlanMember{{MemberId: "m"}, {MemberId: "n"}},
	})
	for len(server.Plans()) == 0 && !t.Failed() {
		idle(t, member, 20*time.Millisecond)
	}
	plan := server.Plans()[0]
	got := map[string][]int32{}
	for _, a := range plan.GetAssignments() {
		got[a.GetMemberId()] = a.GetPartitions()[0].GetPartitions()
	}
	if plan.GetPlanId() != 7 || plan.GetMemberId() != "m" ||
		!slices.Equal(got["m"], []int32{0, 2}) || !slices.Equal(got["n"], []int32{1}) {
		t.Errorf("%v", plan)
	}
}

// A group is watched over streams that break, and each change is told once.
func TestGroupIsWatched(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	of := func(generation int64) *pb.ConsumerGroup {
		return &pb.ConsumerGroup{
			Group: "g", Generation: generation, State: pb.ConsumerGroupState_CONSUMER_GROUP_STATE_REBALANCING,
			Moves: []*pb.PartitionMove{{Topic: "t", Partition: 1, FromMemberId: "m"}},
		}
	}
	server.Watched([]*pb.ConsumerGroup{of(1), of(2)}, []*pb.ConsumerGroup{of(2), of(3)})
	told := int64(0)
	for group, err := range client.Admin().WatchGroup(testContext(t), "g") {
		if err != nil {
			t.Fatal(err)
		}
		if told++; group.Generation != told || group.State != "rebalancing" || group.Moves[0].From != "m" {
			t.Errorf("%d: %+v", told, group)
		}
		if told == 3 {
			break
		}
	}
	if told != 3 {
		t.Errorf("%d states were told", told)
	}
}
