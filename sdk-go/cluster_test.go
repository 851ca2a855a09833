package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

func TestCluster(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		cluster, err := client.Admin().GetCluster(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if cluster.ID == "" || len(cluster.Brokers) != 1 || cluster.Brokers[0].ID != cluster.Controller ||
			!cluster.Brokers[0].Alive || cluster.Limits.MaxRecordBytes != 3_670_016 {
			t.Errorf("got %+v", cluster)
		}
	})
}

// What runs a cluster: leaders and replicas are moved, a broker is drained and taken out.
func TestClusterIsOperated(t *testing.T) {
	brokers := ropewalktest.StartCluster(t)
	client := dial(t, brokers[0].Address)
	o := operator{t, longContext(t), client.Admin()}
	made, err := o.admin.CreateTopic(o.ctx, "t", 3)
	if err != nil || made.ReplicationFactor != 3 {
		t.Fatal(made, err)
	}
	if _, err := o.admin.CreateTopic(o.ctx, "one", 1, ropewalk.ReplicationFactor(1)); err != nil {
		t.Fatal(err)
	}
	produce(t, client, "one", "0", "1")
	eventually(t, "every replica is in sync", func() bool {
		c := o.cluster()
		return c.UnderReplicated == 0 && c.Leaderless == 0 && !slices.ContainsFunc(c.Brokers,
			func(b ropewalk.Broker) bool { return !b.Alive || b.Replicas < 3 || b.SystemReplicas == 0 })
	})
	if members := o.partition("t").Members; len(members) != 3 || !members[0].Voter || !members[0].InSync {
		t.Errorf("the replicas are %+v", members)
	}
	o.drain(o.transfer())
	from, to := o.reassign()
	expect(t, newConsumer(t, client, ropewalk.WithTopics("one")), "0", "1")
	o.remove(from, dial(t, brokers[to-1].Address).Admin()) // the one that is removed ends
}

// operator does to a cluster what the test shows, and waits until it is done.
type operator struct {
	t     *testing.T
	ctx   context.Context
	admin *ropewalk.Admin
}

func (o operator) partition(topic string) ropewalk.PartitionInfo {
	o.t.Helper()
	_, partitions, err := o.admin.GetTopic(o.ctx, topic)
	if err != nil {
		o.t.Fatal(err)
	}
	return partitions[0]
}

func (o operator) cluster() *ropewalk.Cluster {
	o.t.Helper()
	cluster, err := o.admin.GetCluster(o.ctx)
	if err != nil {
		o.t.Fatal(err)
	}
	return cluster
}

// transfer has a follower lead, which is then the preferred leader.
func (o operator) transfer() (leader uint64) {
	o.t.Helper()
	leader = o.partition("t").Replicas[1]
	for _, to := range []uint64{leader, ropewalk.PreferredLeader} {
		leads, err := o.admin.TransferLeadership(o.ctx, "t", 0, to)
		if err != nil || leads != leader {
			o.t.Fatal(leads, err)
		}
	}
	if p := o.partition("t"); p.Replicas[0] != leader {
		o.t.Errorf("after the transfer: %+v", p)
	}
	return leader
}

// drain drains a broker, and ends that.
func (o operator) drain(id uint64) {
	o.t.Helper()
	drained, err := o.admin.SetDraining(o.ctx, id, true)
	if err != nil || !drained.Draining || drained.ID != id {
		o.t.Fatal(drained, err)
	}
	eventually(o.t, "a broker that drains leads nothing", func() bool {
		b := o.cluster().Brokers[id-1]
		return b.Draining && b.Leaders+b.SystemLeaders == 0
	})
	if _, err := o.admin.TransferLeadership(o.ctx, "t", 0, id); !errors.Is(err, ropewalk.ReasonInvalidField) {
		o.t.Errorf("transferred to a broker that drains: %v", err)
	}
	if undrained, err := o.admin.SetDraining(o.ctx, id, false); err != nil || undrained.Draining {
		o.t.Fatal(undrained, err)
	}
	if _, err := o.admin.SetDraining(o.ctx, 99, true); !errors.Is(err, ropewalk.ReasonInvalidField) {
		o.t.Errorf("drained a broker that there is not: %v", err)
	}
}

// reassign moves the only replica of a topic to another broker.
func (o operator) reassign() (from, to uint64) {
	o.t.Helper()
	from = o.partition("one").Replicas[0]
	to = from%3 + 1
	err := o.admin.ReassignPartitions(o.ctx, ropewalk.Assignment{
		TopicPartition: ropewalk.TopicPartition{Topic: "one"}, Brokers: []uint64{to},
	})
	if err != nil {
		o.t.Fatal(err)
	}
	eventually(o.t, "the replica is where it is to be", func() bool {
		p := o.partition("one")
		return len(p.Members) == 1 && p.Members[0].Broker == to && p.Leader == to
	})
	return from, to
}

// remove takes a broker out, once no topic needs it. Another one is asked whether it is gone.
func (o operator) remove(id uint64, others *ropewalk.Admin) {
	o.t.Helper()
	if err := o.admin.RemoveBroker(o.ctx, id); !errors.Is(err, ropewalk.ReasonInvalidField) {
		o.t.Errorf("removed although a topic has three replicas: %v", err)
	}
	if err := o.admin.DeleteTopic(o.ctx, "t"); err != nil {
		o.t.Fatal(err)
	}
	if err := o.admin.RemoveBroker(o.ctx, id); err != nil {
		o.t.Fatal(err)
	}
	eventually(o.t, "the broker is gone", func() bool {
		c, err := others.GetCluster(o.ctx)
		return err == nil && !slices.ContainsFunc(c.Brokers,
			func(b ropewalk.Broker) bool { return b.ID == id && !b.Removed })
	})
}

// longContext bounds a test that waits for brokers to carry something out.
func longContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("not after 30 s: %s", what)
		}
	}
}

// The loop gets the state of the moment, then each change.
func TestTopicsAreWatched(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx, admin := testContext(t), client.Admin()
		for _, name := range []string{"watched-b", "watched-a", "other"} {
			if _, err := admin.CreateTopic(ctx, name, 1); err != nil {
				t.Fatal(err)
			}
		}
		do := []func() error{ // one at a time, as what comes together is told in one
			func() error { _, err := admin.CreateTopic(ctx, "watched-c", 1); return err },
			func() error { _, err := admin.AddPartitions(ctx, "watched-c", 2); return err },
			func() error { return admin.DeleteTopic(ctx, "other") },
			func() error { return admin.DeleteTopic(ctx, "watched-a") },
		}
		var told []string
		for event, err := range admin.WatchTopics(ctx, "watched-") {
			if err != nil {
				t.Fatal(err)
			}
			line := event.Kind.String()
			if event.Topic != nil {
				line += fmt.Sprintf(" %s/%d", event.Topic.Name, event.Topic.Partitions)
			}
			told = append(told, line)
			if event.Kind == ropewalk.TopicDeleted {
				break
			}
			for event.Kind >= ropewalk.TopicsSynced && len(do) > 0 {
				next := do[0]
				if do = do[1:]; next() != nil {
					t.Fatal("a change was refused")
				}
				if len(do) != 1 { // what becomes of the other topic is not told
					break
				}
			}
		}
		want := []string{"started", "present watched-a/1", "present watched-b/1", "synced",
			"created watched-c/1", "changed watched-c/2", "deleted watched-a/1"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

// When the stream is lost the state is told anew, also by another broker; what cannot be mended ends
// the loop.
func TestWatchingTopicsGoesOn(t *testing.T) {
	servers := newCluster(t, 2)
	client := dial(t, servers[0].Address())
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	started := 0
	var last error
	for event, err := range client.Admin().WatchTopics(ctx, "") {
		if last = err; err != nil {
			continue // it was the last turn
		}
		switch {
		case event.Kind == ropewalk.TopicsStarted:
			started++
		case event.Kind == ropewalk.TopicsSynced && started == 1:
			servers[0].EndSubscribes(testserver.Status(codes.Unavailable, "BROKER_DRAINING").Err())
		case event.Kind == ropewalk.TopicsSynced && started == 2:
			servers[0].Stop()
		case event.Kind == ropewalk.TopicsSynced:
			cancel()
		}
	}
	if started != 3 || !errors.Is(last, context.Canceled) {
		t.Errorf("it began %d times and ended with %v", started, last)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range client.Admin().WatchTopics(testContext(t), "") {
		if !errors.Is(err, ropewalk.ReasonClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}
