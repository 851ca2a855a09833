package ropewalk

import (
	"context"
	"time"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A PlanRequest is what a member is asked that plans for its group.
type PlanRequest struct {
	// Topics are those that the group reads, each with its number of partitions, which count from 0.
	Topics map[string]int32
	// Members are in the order in which they joined.
	Members []PlanMember
	// Deadline is when the broker assigns instead, by its own clock.
	Deadline time.Time
}

// A PlanMember is a member to plan for.
type PlanMember struct {
	// ID is a UUID.
	ID string
	// Instance is the name of a static member.
	Instance string
	// ClientID is what the member calls itself, and Host where it connects from.
	ClientID, Host string
	// Topics are what it reads: only of these it can get partitions.
	Topics []string
	// Current is what it was to have so far.
	Current []TopicPartition
}

// A GroupPlan says which member, by its id, is to have which partitions. It is taken if every partition
// that is asked for is in it, each once, and given to a member that reads its topic.
type GroupPlan map[string][]TopicPartition

func planRequestFrom(r *pb.PlanRequest) PlanRequest {
	request := PlanRequest{Topics: map[string]int32{}, Deadline: r.GetDeadline().AsTime()}
	for _, t := range r.GetTopics() {
		request.Topics[t.GetTopic()] = t.GetPartitionCount()
	}
	for _, m := range r.GetMembers() {
		request.Members = append(request.Members, PlanMember{
			ID: m.GetMemberId(), Instance: m.GetInstanceName(), ClientID: m.GetClientId(),
			Host: m.GetHost(), Topics: m.GetTopics(), Current: partitionsOf(m.GetCurrent()...),
		})
	}
	return request
}

// plan answers a plan request. The plan goes on its way beside the reading.
func (g *GroupConsumer) plan(r *pb.PlanRequest) {
	if g.config.planner == nil {
		return
	}
	submission := &pb.SubmitAssignmentRequest{
		Group: g.group, MemberId: g.MemberID(), PlanId: r.GetPlanId(),
	}
	for id, partitions := range g.config.planner(planRequestFrom(r)) {
		assignment := &pb.MemberAssignment{MemberId: id}
		byTopic := map[string]*pb.TopicPartitions{}
		for _, tp := range partitions {
			if byTopic[tp.Topic] == nil {
				byTopic[tp.Topic] = &pb.TopicPartitions{Topic: tp.Topic}
				assignment.Partitions = append(assignment.Partitions, byTopic[tp.Topic])
			}
			byTopic[tp.Topic].Partitions = append(byTopic[tp.Topic].Partitions, tp.Partition)
		}
		submission.Assignments = append(submission.Assignments, assignment)
	}
	g.spawn(func() {
		_, err := call(g.ctx, g.client, "submit assignment", true,
			func(ctx context.Context) (*pb.SubmitAssignmentResponse, error) {
				return g.client.consumers.SubmitAssignment(ctx, submission)
			})
		if err != nil && g.ctx.Err() == nil {
			g.client.log.Warn("ropewalk: a plan was not taken: the broker assigns instead", "error", err)
		}
	})
}
