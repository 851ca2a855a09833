package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

func join(
	t testing.TB, client *ropewalk.Client, options ...ropewalk.GroupOption,
) *ropewalk.GroupConsumer {
	t.Helper()
	options = append([]ropewalk.GroupOption{ropewalk.GroupTopics("t")}, options...)
	member, err := client.JoinGroup(testContext(t), "g", options...)
	if err != nil {
		t.Fatal(err)
	}
	return member
}

func fillPartitions(t testing.TB, client *ropewalk.Client, partitions int32, records int) {
	t.Helper()
	producer := newProducer(t, client, ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
	for n := range records {
		record := &ropewalk.Record{Topic: "t", Partition: int32(n) % partitions, Value: fmt.Append(nil, n)}
		if _, err := producer.Send(testContext(t), record); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
}

// A member goes on where the group was, also within a batch, and pauses, resumes and seeks without
// leaving.
func TestGroupGoesOnWhereItWas(t *testing.T) {
	client := dial(t, ropewalktest.Start(t).Address)
	ctx := testContext(t)
	if _, err := client.Admin().CreateTopic(ctx, "t", 1); err != nil {
		t.Fatal(err)
	}
	fillPartitions(t, client, 1, 6)
	first := join(t, client)
	for offset := range int64(3) {
		if record, err := first.Next(ctx); err != nil || record.Offset != offset {
			t.Fatalf("%v, %v", record, err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := join(t, client, ropewalk.GroupManualCommit())
	next := func(offset int64) {
		t.Helper()
		if record, err := second.Next(ctx); err != nil || record.Offset != offset {
			t.Fatalf("%v, %v", record, err)
		}
	}
	next(3)
	if err := second.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	id, partition := second.MemberID(), ropewalk.TopicPartition{Topic: "t"}
	second.Pause(partition)
	brief, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if record, err := second.Next(brief); err == nil {
		t.Fatalf("it is paused, and hands out %v", record)
	}
	second.Resume(partition)
	next(4)
	second.Seek(partition, 1)
	next(1)
	if second.MemberID() != id {
		t.Error("it has left meanwhile")
	}
	described, err := client.Admin().GetGroup(ctx, "g")
	if err != nil || described.State != "stable" || len(described.Members) != 1 {
		t.Fatalf("%+v, %v", described, err)
	}
	if o := described.Offsets[0]; o.Committed != 4 || o.Lag != 2 || o.MemberID != id {
		t.Errorf("%+v", o)
	}
	if err := client.Admin().DeleteGroup(ctx, "g"); !errors.Is(err, ropewalk.ReasonGroupNotEmpty) {
		t.Errorf("it has a member: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

// A member at its limit in flight commits when it has nothing at hand: the broker waits for that.
func TestGroupReadsOnAtItsLimit(t *testing.T) {
	client := dial(t, ropewalktest.Start(t).Address)
	ctx := testContext(t)
	if _, err := client.Admin().CreateTopic(ctx, "t", 1); err != nil {
		t.Fatal(err)
	}
	const records = 50
	// Each comes in a batch of its own.
	for range records {
		fillPartitions(t, client, 1, 1)
	}
	member := join(t, client, ropewalk.GroupInFlight(2, 0), ropewalk.GroupAutoCommit(time.Minute))
	for offset := range int64(records) {
		if record, err := member.Next(ctx); err != nil || record.Offset != offset {
			t.Fatalf("%d: %v, %v", offset, record, err)
		}
	}
	if err := member.Close(); err != nil {
		t.Fatal(err)
	}
}

// Members share a topic. What is moved is given back first, so that each record is handed out once, and
// a commit of what is another's is refused.
func TestGroupMembersShare(t *testing.T) {
	client := dial(t, ropewalktest.Start(t).Address)
	ctx := testContext(t)
	if _, err := client.Admin().CreateTopic(ctx, "t", 4); err != nil {
		t.Fatal(err)
	}
	const records = 400
	var mu sync.Mutex
	seen := map[ropewalk.TopicPartition]map[int64]int{}
	all := make(chan struct{})
	note := func(r *ropewalk.Record) {
		mu.Lock()
		defer mu.Unlock()
		tp := ropewalk.TopicPartition{Topic: r.Topic, Partition: r.Partition}
		if seen[tp] == nil {
			seen[tp] = map[int64]int{}
		}
		seen[tp][r.Offset]++
		total := 0
		for _, offsets := range seen {
			total += len(offsets)
		}
		if total == records {
			close(all)
		}
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	moved := make(chan []ropewalk.Position, 8)
	var members sync.WaitGroup
	read := func(member *ropewalk.GroupConsumer) {
		members.Go(func() {
			for record, err := range member.Records(reading) {
				if err != nil {
					break
				}
				note(record)
			}
		})
	}
	one := join(t, client, ropewalk.GroupRevoked(func(_ context.Context, p []ropewalk.Position) { moved <- p }))
	read(one)
	fillPartitions(t, client, 4, records/2)
	two := join(t, client)
	read(two)
	given := <-moved
	fillPartitions(t, client, 4, records/2)
	select {
	case <-all:
	case <-ctx.Done():
		t.Fatal("some records were not handed out")
	}
	tp := given[0].TopicPartition
	err := one.CommitOffset(ctx, ropewalk.CommittedOffset{TopicPartition: tp, Offset: 1})
	if !errors.Is(err, ropewalk.ReasonMemberFenced) {
		t.Errorf("it is the other one's: %v", err)
	}
	stop()
	members.Wait()
	for _, member := range []*ropewalk.GroupConsumer{one, two} {
		if err := member.Close(); err != nil {
			t.Error(err)
		}
	}
	for tp, offsets := range seen {
		for offset, times := range offsets {
			if times > 1 {
				t.Errorf("%v at %d was handed out %d times", tp, offset, times)
			}
		}
	}
	for group, err := range client.Admin().Groups(ctx, "") {
		if err != nil || group.Name != "g" {
			t.Errorf("%+v, %v", group, err)
		}
	}
}

// The member that is asked plans for all, and whoever watches sees how it goes.
func TestGroupIsPlannedByItsMembers(t *testing.T) {
	client := dial(t, ropewalktest.Start(t).Address)
	ctx := testContext(t)
	if _, err := client.Admin().CreateTopic(ctx, "t", 4); err != nil {
		t.Fatal(err)
	}
	// All but partition 0 to the member that joined last.
	planner := ropewalk.GroupPlanner("last", func(r ropewalk.PlanRequest) ropewalk.GroupPlan {
		plan := ropewalk.GroupPlan{}
		for topic, count := range r.Topics {
			for partition := range count {
				member := r.Members[0]
				if partition > 0 {
					member = r.Members[len(r.Members)-1]
				}
				tp := ropewalk.TopicPartition{Topic: topic, Partition: partition}
				plan[member.ID] = append(plan[member.ID], tp)
			}
		}
		return plan
	})
	reading, stop := context.WithCancel(ctx)
	var members sync.WaitGroup
	defer members.Wait()
	defer stop()
	read := func(member *ropewalk.GroupConsumer) {
		members.Go(func() {
			for _, err := range member.Records(reading) {
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
			if err := member.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	read(join(t, client, planner))
	var last *ropewalk.GroupConsumer
	for group, err := range client.Admin().WatchGroup(ctx, "g") {
		if err != nil {
			t.Fatal(err)
		}
		if group.State != "stable" {
			continue
		}
		if last == nil && len(group.Members[0].Assigned) == 4 {
			last = join(t, client, planner)
			read(last)
		}
		if len(group.Members) == 2 && len(group.Members[1].Assigned) == 3 {
			if group.Members[1].ID != last.MemberID() || group.Strategy != "client:last" {
				t.Errorf("%+v", group)
			}
			break
		}
	}
}

// A commit that is tried again does not land behind one that says more.
func TestGroupCommitsInOrder(t *testing.T) {
	server, member, stream := scripted(t, ropewalk.GroupManualCommit())
	stream.Send(assign(5, nil, map[int32]int64{0: 0}))
	stream.Send(batch(0, 0, 2))
	next(t, member, 0, 0)
	server.LoseAnswers(1)
	first := make(chan error, 1)
	go func() { first <- member.Commit(testContext(t)) }()
	for len(server.MemberCommits()) == 0 {
		time.Sleep(time.Millisecond)
	}
	next(t, member, 0, 1)
	if err := errors.Join(member.Commit(testContext(t)), <-first); err != nil {
		t.Fatal(err)
	}
	if last := lastCommit(server, 0); last != 2 {
		t.Errorf("%d is committed last: %v", last, server.MemberCommits())
	}
}
