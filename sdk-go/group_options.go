package ropewalk

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A GroupOption says what a [GroupConsumer] reads, or changes a setting of it.
type GroupOption func(*groupConfig)

type groupConfig struct {
	topics   []string
	patterns []string
	start    Start
	instance string
	memberID string
	clientID string
	strategy string
	grace    *durationpb.Duration
	drain    *durationpb.Duration
	inFlight *pb.InFlightLimit
	// autoCommit is 0 where the program commits, which manualCommit says.
	autoCommit time.Duration
	fetchBytes int
	heartbeat  time.Duration
	backoff    func(attempt int) time.Duration
	onAssigned func(context.Context, []Position)
	onRevoked  func(context.Context, []Position)
	onLost     func(context.Context, []Position)
	onGap      func(Gap)
	planner    func(PlanRequest) GroupPlan

	assignmentsOnly, manualCommit bool

	interceptors []ReceiveInterceptor
	deliveries   []DeliveryInterceptor
}

func defaultGroupConfig() groupConfig {
	return groupConfig{
		autoCommit: 5 * time.Second,
		fetchBytes: 1 << 20,
		heartbeat:  5 * time.Second,
		backoff:    backoff,
	}
}

func (c *groupConfig) validate() error {
	const op = "join group"
	switch {
	case len(c.topics)+len(c.patterns) == 0:
		return invalidError(op, "no topic is named")
	case c.fetchBytes < 1 || c.fetchBytes > maxFetchBytes:
		return invalidError(op, "fetch bytes must be 1 to %d, not %d", maxFetchBytes, c.fetchBytes)
	case c.heartbeat < 100*time.Millisecond || c.heartbeat > 5*time.Minute:
		return invalidError(op, "the heartbeat must be 100ms to 5m, not %v", c.heartbeat)
	case c.autoCommit <= 0:
		return invalidError(op, "the interval of automatic commits must be positive, not %v: "+
			"GroupManualCommit has nothing committed by itself", c.autoCommit)
	case slices.Contains(c.interceptors, nil), slices.Contains(c.deliveries, nil):
		return invalidError(op, "an interceptor is nil")
	case c.assignmentsOnly && (c.inFlight != nil || len(c.interceptors)+len(c.deliveries) > 0 ||
		c.onGap != nil):
		return invalidError(op, "a member that is sent no records has no use for interceptors, a gap "+
			"handler or a limit in flight: give them to the consumers that read")
	}
	if c.assignmentsOnly || c.manualCommit {
		c.autoCommit = 0
	}
	return nil
}

// GroupTopics reads topics, also partitions that are added to them.
func GroupTopics(topics ...string) GroupOption {
	return func(c *groupConfig) { c.topics = append(c.topics, topics...) }
}

// GroupPattern reads all topics whose whole name a regular expression matches (RE2 syntax), also those
// that are created later.
func GroupPattern(pattern string) GroupOption {
	return func(c *groupConfig) { c.patterns = append(c.patterns, pattern) }
}

// GroupStart sets where a partition begins of which the group has committed nothing: [StartEarliest],
// which is the default, [StartLatest] or [StartTime].
func GroupStart(start Start) GroupOption { return func(c *groupConfig) { c.start = start } }

// GroupInstance names the member, so that it is known again when it is restarted: within its rejoin
// grace nothing moves. No two members that run may have the same name: the one that joins later
// takes it, with the partitions, and the other ends with an error ([Error.InstanceTaken]).
func GroupInstance(name string) GroupOption { return func(c *groupConfig) { c.instance = name } }

// GroupMemberID has the consumer come back as the member that had this [GroupConsumer.MemberID], in
// the place of it if it still runs, and with what it had. JoinGroup fails with [ReasonMemberFenced]
// when the group has no such member any more, and with [Error.InstanceTaken] when another one has
// its instance name. Default: a new member, which takes the name.
func GroupMemberID(id string) GroupOption { return func(c *groupConfig) { c.memberID = id } }

// GroupClientID is what the member calls itself, for people.
func GroupClientID(id string) GroupOption { return func(c *groupConfig) { c.clientID = id } }

// GroupStrategy asks for range, round-robin or sticky; [GroupPlanner] for plans of the members. What most
// members ask for holds. Default: no wish; sticky when nobody has one.
func GroupStrategy(name string) GroupOption { return func(c *groupConfig) { c.strategy = name } }

// GroupPlanner has partitions assigned as members plan it, by a strategy of this name. It holds when
// most members ask for it; whichever of them the group asks, plans for all. The planner runs within
// Next, Poll and [GroupConsumer.Serve]; when a plan is late (5 s) or not sound, the broker assigns.
func GroupPlanner(name string, planner func(PlanRequest) GroupPlan) GroupOption {
	return func(c *groupConfig) { c.strategy, c.planner = "client:"+name, planner }
}

// GroupRejoinGrace sets how long the group waits for the member when its connection breaks. Default:
// 5 s; at most 1 h.
func GroupRejoinGrace(d time.Duration) GroupOption {
	return func(c *groupConfig) { c.grace = durationpb.New(d) }
}

// GroupDrainTimeout sets how long the member has to finish with a partition that another one is to
// have. Default: 5 s; at most 1 h.
func GroupDrainTimeout(d time.Duration) GroupOption {
	return func(c *groupConfig) { c.drain = durationpb.New(d) }
}

// GroupInFlight bounds what the broker sends beyond what is committed. 0: no bound. A member that takes
// its time with each record sets it, as a revocation comes behind the records that were sent before it.
// With nothing at hand such a member does not wait for its next automatic commit: it commits at once, ten
// times a second at most, as the broker sends nothing more until it does.
func GroupInFlight(records, bytes int64) GroupOption {
	return func(c *groupConfig) { c.inFlight = &pb.InFlightLimit{Records: records, Bytes: bytes} }
}

// GroupAutoCommit sets how often what is done is committed: all that was handed out before the
// consumer was asked for more. So is it before a partition is given back, and by Close. It must be
// positive. Default: 5 s.
func GroupAutoCommit(interval time.Duration) GroupOption {
	return func(c *groupConfig) { c.autoCommit, c.manualCommit = interval, false }
}

// GroupManualCommit has nothing committed by itself: the program calls Commit.
func GroupManualCommit() GroupOption { return func(c *groupConfig) { c.manualCommit = true } }

// GroupFetchBytes bounds the records that the broker sends at once. Default: 1 MiB, at most 3.5 MiB.
func GroupFetchBytes(n int) GroupOption { return func(c *groupConfig) { c.fetchBytes = n } }

// GroupHeartbeat sets how often the broker shows that a quiet stream is alive. After three intervals
// of silence the member reconnects. Default: 5 s; 100 ms to 5 min.
func GroupHeartbeat(d time.Duration) GroupOption { return func(c *groupConfig) { c.heartbeat = d } }

// GroupAssigned tells of partitions that the member has got, and where it reads them from. The
// handlers of a consumer run within Next, Poll and [GroupConsumer.Serve], with a context that has the
// values of theirs and ends with the consumer or after the client's request timeout, not when theirs
// does. They may commit, seek, pause and resume, and must not call Next, Poll, Serve or Close.
func GroupAssigned(f func(context.Context, []Position)) GroupOption {
	return func(c *groupConfig) { c.onAssigned = f }
}

// GroupRevoked is called before partitions are given back, with the next offset after what was handed
// out of each, or what was committed last of it with [GroupAssignmentsOnly]. A member that commits by
// itself commits here, and then nothing comes twice.
func GroupRevoked(f func(context.Context, []Position)) GroupOption {
	return func(c *groupConfig) { c.onRevoked = f }
}

// GroupLost tells of partitions that were taken and had not been given back: what was handed out of
// them and is not committed comes to another member too.
func GroupLost(f func(context.Context, []Position)) GroupOption {
	return func(c *groupConfig) { c.onLost = f }
}

// GroupGap has gaps reported to a function instead of as errors.
func GroupGap(f func(Gap)) GroupOption { return func(c *groupConfig) { c.onGap = f } }
