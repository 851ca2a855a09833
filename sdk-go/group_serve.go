package ropewalk

import "context"

// GroupAssignmentsOnly has the member told what it has, and sent no records of it: the program
// reads with consumers of its own, each from the place that [GroupAssigned] tells, and so a
// partition whose records are handled slowly holds up no other. It runs [GroupConsumer.Serve],
// commits with CommitOffset and gives back with [GroupConsumer.Release]; nothing is committed or
// given back by itself.
//
// [GroupAssigned] is called with what each stream brings first, also when there is nothing in it:
// so the program knows that the group has answered.
func GroupAssignmentsOnly() GroupOption {
	return func(c *groupConfig) { c.assignmentsOnly = true }
}

// Serve follows what the group says, for a member with [GroupAssignmentsOnly]: it runs the
// handlers, reconnects and joins anew where it has to. The program runs it all the time, in a
// goroutine of its own. It ends with an error, which is the context's or has ended the member.
func (g *GroupConsumer) Serve(ctx context.Context) error {
	if !g.config.assignmentsOnly {
		return invalidError("serve", "the member reads records: call Next or Poll")
	}
	select {
	case g.reading <- struct{}{}:
	case <-ctx.Done():
		return contextError("serve", ctx, OutcomeNo)
	}
	defer func() { <-g.reading }()
	for {
		if err := g.receive(ctx); err != nil {
			return err
		}
	}
}

// Release gives partitions back that were revoked, as [GroupRevoked] told them, once the program is
// done with them and has committed that: they go on to their next owners. Others are left as they
// are. What is not given back is taken at the deadline. It is for members with
// [GroupAssignmentsOnly]: others give back by themselves.
func (g *GroupConsumer) Release(ctx context.Context, revoked ...Position) error {
	if !g.config.assignmentsOnly {
		return invalidError("release", "the member gives back by itself")
	}
	return g.keepMost(ctx, nil, revoked)
}

// Generation is the newest generation of the group that the member was told. It counts the changes
// of the assignment.
func (g *GroupConsumer) Generation() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.has.generation
}
