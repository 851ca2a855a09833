package ropewalk

import (
	"errors"
	"testing"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

func assignment(generation int64, ended []int32, assigned map[int32]int64, revoked []int32) *pb.Assignment {
	a := &pb.Assignment{
		Generation: generation,
		Ended:      []*pb.TopicPartitions{{Topic: "t", Partitions: ended}},
		Revoked: []*pb.Revocation{
			{Partitions: &pb.TopicPartitions{Topic: "t", Partitions: revoked}},
		},
	}
	for partition, offset := range assigned {
		a.Assigned = append(a.Assigned,
			&pb.PartitionPosition{Topic: "t", Partition: partition, Offset: offset})
	}
	return a
}

// heldBy is what the member m was assigned in generation 5.
func heldBy(assigned map[int32]int64) *groupHoldings {
	g := &groupHoldings{}
	g.begin("m", 4)
	g.anew(assignment(5, nil, assigned, nil))
	return g
}

// anew applies the first assignment of a stream that was asked to go on where the member is.
func (g *groupHoldings) anew(a *pb.Assignment) groupChanges {
	asked := map[TopicPartition]int64{}
	for _, p := range g.toGoOn() {
		asked[TopicPartition{p.GetTopic(), p.GetPartition()}] = p.GetOffset()
	}
	return g.apply(a, asked)
}

func (g *groupHoldings) giveNow(partition int32, offset int64) {
	tp := TopicPartition{"t", partition}
	g.held[tp].next = offset
	g.give(tp, offset)
	g.finish()
}

func fencedBy(g *groupHoldings, positions []Position) bool {
	var offsets []CommittedOffset
	for _, p := range positions {
		offsets = append(offsets, p.ToCommit())
	}
	_, err := g.vouch(offsets)
	return errors.Is(err, ReasonMemberFenced)
}

// A position counts in its own era only, and a stream that takes the place of another claims nothing new
// before its first assignment.
func TestGroupHoldingsKnowEras(t *testing.T) {
	g := heldBy(map[int32]int64{0: 0, 1: 0})
	g.giveNow(0, 101)
	g.giveNow(1, 7)
	before := g.positions()
	if fencedBy(g, before) {
		t.Fatal("it has them")
	}
	g.begin("m", 12)
	if g.generation != 5 {
		t.Errorf("it claims generation %d", g.generation)
	}
	// Partition 0 was another member's meanwhile, which has committed 500.
	changes := g.anew(assignment(12, nil, map[int32]int64{0: 500, 1: 7}, nil))
	if len(changes.lost) != 1 || len(changes.fresh) != 1 || g.generation != 12 {
		t.Errorf("%+v in generation %d", changes, g.generation)
	}
	if !fencedBy(g, before[:1]) || fencedBy(g, before[1:]) {
		t.Error("only partition 0 has another era")
	}
	// A commit that was under way when it went is none of the new era.
	g.kept([]CommittedOffset{before[0].ToCommit()}, nil)
	g.giveNow(0, 501)
	if due := g.uncommitted(); len(due) != 2 {
		t.Errorf("%+v", due)
	}
	now := g.positions()
	g.end()
	g.begin("n", 13)
	g.anew(assignment(13, nil, map[int32]int64{0: 501, 1: 7}, nil))
	if !fencedBy(g, now[:1]) {
		t.Error("it is another member")
	}
}

// What was revoked is read again when it comes back at the same offset, and what was given back is no part
// of a commit meanwhile.
func TestGroupHoldingsGiveBack(t *testing.T) {
	g := heldBy(map[int32]int64{0: 0, 1: 0})
	g.giveNow(0, 10)
	tp := TopicPartition{"t", 0}
	g.held[tp].next = 15
	revoked := g.apply(assignment(6, nil, nil, []int32{0}), nil).revoked
	if len(revoked) != 1 || g.reads(tp, 0) {
		t.Fatalf("%+v", revoked)
	}
	for _, p := range g.toGoOn() {
		if p.GetPartition() == 0 && p.GetOffset() != 10 {
			t.Errorf("what was read ahead is dropped, and it goes on at %d", p.GetOffset())
		}
	}
	// The stream breaks; it is still to go. Then its deadline passes, and it comes back.
	g.anew(assignment(7, nil, map[int32]int64{0: 10, 1: 0}, []int32{0}))
	if g.reads(tp, 0) {
		t.Error("it is to be given back still")
	}
	g.anew(assignment(8, nil, map[int32]int64{0: 10, 1: 0}, nil))
	if !g.reads(tp, 0) || g.reads(tp, revoked[0].era) {
		t.Error("it has come back, in another era")
	}
	revoked = g.apply(assignment(9, nil, nil, []int32{0}), nil).revoked
	if p := g.positions(); len(p) != 2 {
		t.Errorf("it is the member's until it is given back: %+v", p)
	}
	back, _ := g.giveBack(revoked)
	if p := g.positions(); len(p) != 1 || len(g.toGoOn()) != 2 {
		t.Errorf("and perhaps no more, if there is no answer: %+v", p)
	}
	g.kept(nil, back)
	if p := g.positions(); len(p) != 1 || p[0].Partition != 1 {
		t.Errorf("it was given back: %+v", p)
	}
	if changes := g.apply(assignment(10, []int32{0}, nil, nil), nil); len(changes.lost) != 0 {
		t.Errorf("it is not lost: %+v", changes)
	}
}

// What is refused is the member's no more, and lost, unless a call that gave it back has no answer.
func TestGroupHoldingsAreRefused(t *testing.T) {
	g := heldBy(map[int32]int64{0: 0, 1: 0, 2: 0})
	for partition := range int32(3) {
		g.giveNow(partition, 10)
	}
	all := g.positions()
	g.apply(assignment(6, nil, nil, []int32{0, 1}), nil)
	// Of 0 there is no answer, 1 was surely not given back, and 2 is not to be.
	back, first := g.giveBack(all)
	if len(back) != 2 || len(first) != 2 {
		t.Fatalf("%+v, %+v", back, first)
	}
	g.turn(first[1:], heldGivingBack, heldRevoked)
	if _, first = g.giveBack(all); len(first) != 1 || first[0].Partition != 1 {
		t.Errorf("what is tried again is no first try: %+v", first)
	}
	g.turn(first, heldGivingBack, heldRevoked)
	for _, p := range all {
		g.refuse(p.ToCommit())
	}
	if len(g.positions())+len(g.uncommitted())+len(g.toGoOn()) != 0 {
		t.Error("it has them still")
	}
	// That one of them is to be given back is no news of it any more.
	changes := g.apply(assignment(8, []int32{0, 1}, nil, []int32{2}), nil)
	if len(changes.lost) != 1 || changes.lost[0].Partition != 1 || len(changes.revoked) != 0 {
		t.Errorf("%+v", changes)
	}
	changes = g.anew(assignment(9, nil, map[int32]int64{2: 10}, nil))
	if len(changes.lost) != 1 || len(changes.fresh) != 1 || len(g.positions()) != 1 {
		t.Errorf("%+v", changes)
	}
}
