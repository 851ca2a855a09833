package kafka

import (
	"log/slog"
	"testing"
)

// Where nobody polls, events are dropped at a bound; but not what a program is to assign.
func TestRebalancesAreNotDropped(t *testing.T) {
	c := &Consumer{handle: &handle{log: slog.New(slog.DiscardHandler)}}
	for range mostEvents + 1 {
		c.tell(OffsetsCommitted{})
	}
	c.tell(AssignedPartitions{})
	c.lost = true
	c.tell(RevokedPartitions{})
	if len(c.queue) != mostEvents+2 {
		t.Fatalf("%d events wait", len(c.queue))
	}
	if q := c.queue[mostEvents]; q.event.String() != (AssignedPartitions{}).String() || q.lost {
		t.Errorf("the first behind the bound is %v", q)
	}
	c.queue = c.queue[mostEvents:]
	for want := range 2 {
		if q, _ := c.pop(); c.applied(q) == nil || c.lostTold != (want == 1) {
			t.Errorf("%v: the partitions were lost: %v", q.event, c.lostTold)
		}
	}
}
