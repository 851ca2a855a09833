package ropewalk

import (
	"context"
	"errors"
	"time"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

const (
	// lookAfter is how often a stream is compared with who leads what it reads, and lookSoon while it
	// goes to whichever broker answers.
	lookAfter = time.Second
	lookSoon  = lookAfter / 5
	// lookLater is how much longer it stays where it is when a leader did not start a stream.
	lookLater = 5 * time.Second
	// directTimeout is how long a leader may take to start a stream.
	directTimeout = time.Second
)

// moved opens a stream at the broker that leads most of what is read, to take the place of one that
// goes elsewhere; nil where there is none, or no connection to it yet. Nothing is lost between the
// two: the new one begins at the next offsets, and the old one lives until it has.
func (r *reader) moved(s *subscription) *subscription {
	k := r.consumer
	pause := lookAfter
	if s.conn == nil {
		pause = lookSoon
	}
	// An end that is a time is resolved by the broker, anew with each stream: it could move.
	if k.config.stop.wire.GetTimestamp() != nil || time.Since(r.looked) < pause {
		return nil
	}
	r.looked = time.Now()
	leader := k.client.topics.leaderOfMost(s.request)
	if leader == anyBroker {
		k.client.topics.learnOf(s.request)
	}
	if s.conn != nil && s.conn.id == leader {
		return nil
	}
	conn := k.client.brokers.use(leader)
	if conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(k.ctx, directTimeout)
	defer cancel()
	request, err := r.resumption(ctx)
	if err != nil { // the stream that there is tells what is wrong
		k.client.brokers.release(conn)
		return nil
	}
	moved := r.direct(ctx, request, conn)
	if moved == nil {
		r.looked = time.Now().Add(lookLater)
	}
	return moved
}

// begin opens a stream at the broker that leads most of what is read; where there is no connection to
// it, or it does not serve, at whichever broker answers.
func (r *reader) begin(ctx context.Context, request *pb.SubscribeRequest) (*subscription, error) {
	client := r.consumer.client
	if conn := client.brokers.use(client.topics.leaderOfMost(request)); conn != nil {
		if s := r.direct(ctx, request, conn); s != nil {
			return s, nil
		}
	}
	return r.open(ctx, request, nil)
}

// direct opens a stream over the connection to a leader. One that does not answer is left alone for a
// while; with other errors end does what is due.
func (r *reader) direct(
	ctx context.Context, request *pb.SubscribeRequest, conn *brokerConn,
) *subscription {
	client, leader := r.consumer.client, conn.id
	limit, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	s, err := r.open(limit, request, conn)
	if err == nil {
		return s
	}
	client.log.Info("ropewalk: a leader does not serve, others forward to it",
		"broker", leader, "error", err)
	if limit.Err() != nil && r.consumer.ctx.Err() == nil && !errors.Is(err, errNoRoom) {
		client.brokers.failed(leader)
	}
	return nil
}
