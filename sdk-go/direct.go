package ropewalk

import (
	"context"
	"time"
)

const (
	// lookAfter is how often a stream is compared with who leads what it reads, and lookSoon while it
	// goes to whichever broker answers.
	lookAfter = time.Second
	lookSoon  = lookAfter / 5
	// moveTimeout is how long a leader may take to start a stream, while nothing is read.
	moveTimeout = time.Second
)

// moved opens a stream at the broker that leads most of what is read, to take the place of one that
// goes elsewhere; nil where there is none, or no connection to it yet. Nothing is lost between the
// two: the new one begins at the next offsets, and the old one lives until it has.
func (r *reader) moved(s *subscription) *subscription {
	k := r.consumer
	// An end that is a time is resolved by the broker, anew with each stream: it could move.
	pause := lookAfter
	if s.conn == nil {
		pause = lookSoon
	}
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
	ctx, cancel := context.WithTimeout(k.ctx, moveTimeout)
	defer cancel()
	request, err := r.resumption(ctx)
	if err != nil { // the stream that there is tells what is wrong
		k.client.brokers.release(conn)
		return nil
	}
	moved, err := r.open(ctx, request, conn)
	if err != nil {
		k.client.log.Info("ropewalk: a leader does not serve, others forward to it",
			"broker", leader, "error", err)
		k.client.brokers.failed(leader)
		return nil
	}
	return moved
}
