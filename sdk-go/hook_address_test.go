package ropewalk_test

import (
	"context"
	"net"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// deliveries is an interceptor that keeps where records came from.
type deliveries struct{ from []string }

func (d *deliveries) OnDelivery(_ context.Context, delivery ropewalk.Delivery) {
	d.from = append(d.from, delivery.Address)
}

func (d *deliveries) expect(t *testing.T, address string) {
	t.Helper()
	if len(d.from) == 0 || d.from[len(d.from)-1] != address {
		t.Errorf("they came from %q, not from %s", d.from, address)
	}
}

// Where the broker is that answers is told as it was dialed: the name, and not the IP behind it.
func TestHooksAreToldWhoAnswers(t *testing.T) {
	server, w := newServer(t), newWitness()
	_, port, err := net.SplitHostPort(server.Address())
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("localhost", port)
	client := dial(t, address, ropewalk.WithHooks(w))
	producer := newProducer(t, client)
	ack, err := sendValue(t, producer, "a")
	if err != nil || ack.Address != address {
		t.Errorf("the answer is %+v, %v", ack, err)
	}
	if e := anyOf[ropewalk.BatchAnswered](t, w); e.Address != address {
		t.Errorf("answered: %+v", e)
	}
	if e := anyOf[ropewalk.BatchSent](t, w); e.Address != "" {
		t.Errorf("it was known before anybody answered: %+v", e)
	}
	if _, err := sendValue(t, producer, "b"); err != nil {
		t.Fatal(err)
	}
	toldOf(t, w, func(e ropewalk.BatchSent) bool { return e.Address == address })

	ack, err = producer.Append(testContext(t), "t", 0, []*ropewalk.Record{{}, {}, {}})
	if err != nil || ack.Address != address {
		t.Errorf("the answer is %+v, %v", ack, err)
	}
	toldOf(t, w, func(e ropewalk.BatchAnswered) bool {
		return e.Records == 3 && e.Address == address
	})

	seen := &deliveries{}
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"),
		ropewalk.WithDeliveryInterceptor(seen))
	expect(t, consumer, "a", "b")
	seen.expect(t, address)
	if e := anyOf[ropewalk.RecordsDelivered](t, w); e.Address != address {
		t.Errorf("delivered: %+v", e)
	}
	if err := consumer.Commit(testContext(t), "readers"); err != nil {
		t.Fatal(err)
	}
	if e := anyOf[ropewalk.CommitDone](t, w); e.Address != address {
		t.Errorf("committed: %+v", e)
	}
}

// So it is for a member of a group.
func TestHooksAreToldWhoAnswersAMember(t *testing.T) {
	w, seen := newWitness(), &deliveries{}
	server, member, stream := scriptedFor(t, []ropewalk.ClientOption{ropewalk.WithHooks(w)},
		ropewalk.GroupManualCommit(), ropewalk.GroupDeliveryInterceptor(seen))
	stream.Send(assign(5, nil, map[int32]int64{0: 0}))
	stream.Send(batch(0, 0, 1))
	next(t, member, 0, 0)
	seen.expect(t, server.Address())
	if e := anyOf[ropewalk.RecordsDelivered](t, w); e.Address != server.Address() {
		t.Errorf("delivered: %+v", e)
	}
	if err := member.Commit(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if e := anyOf[ropewalk.CommitDone](t, w); e.Address != server.Address() {
		t.Errorf("committed: %+v", e)
	}
}

// A leader that is gone to directly is known before it answers; records are from whom they came.
func TestHooksAreToldOfLeaders(t *testing.T) {
	servers, w, seen := newCluster(t, 2), newWitness(), &deliveries{}
	lead(t, servers[0], 2)
	client := dial(t, servers[0].Address(), ropewalk.WithHooks(w))
	producer := newProducer(t, client)
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"),
		ropewalk.WithDeliveryInterceptor(seen))
	eventually(t, "the leader takes, and hands out", func() bool {
		ack, err := sendValue(t, producer, "v")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := consumer.Next(testContext(t)); err != nil {
			t.Fatal(err)
		}
		leader := servers[1].Address()
		return ack.Address == leader && seen.from[len(seen.from)-1] == leader
	})
	toldOf(t, w, func(e ropewalk.BatchSent) bool {
		return e.Broker == 2 && e.Address == servers[1].Address()
	})
}
