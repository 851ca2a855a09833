package ropewalk

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// growAgain is how long a connSet does not try again when it has got no further connection.
const growAgain = time.Second

// errNoRoom is the cause of errors of streams that found no room on a connection: it says nothing
// of whether the broker serves.
var errNoRoom = errors.New("no connection has room for another stream")

// A connSet is the connections to one broker, or to whichever answers: one, and further ones while
// there are many streams. A broker takes a limited number of calls at a time on a connection, and
// what is beyond that waits; behind streams, which last, it would wait for ever.
//
// The first connection carries the calls, and streams as well, up to half of what it may carry:
// most programs then have one connection a broker, and streams cost calls nothing there. gRPC gives
// the other side new room on the connection as data comes in, and new room on a stream as that is
// read, so that one that nobody reads holds up its own data only. How many connections there are is
// bounded by the streams that the program has open.
type connSet struct {
	client *Client
	// first is always there, and connects again by itself. The others do not: streams that were on
	// one that broke are opened anew, where there is room.
	first *line
	// dial makes a further connection, which tells its limit.
	dial func(*callLimit) (clientConn, error)
	// idle is how long a further connection stays without a stream.
	idle time.Duration

	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	further []*line
	growing *growth
	// failure is why there is no further connection, until it is tried again.
	failure error
	again   time.Time
	closed  bool
}

// A line is one connection of a connSet.
type line struct {
	conn    clientConn
	limit   *callLimit
	streams int
	// closing closes it when it is idle.
	closing *time.Timer
}

// A growth is a connection that is being made; err may be read once done is closed.
type growth struct {
	done chan struct{}
	err  error
}

// newConnSet makes the first connection.
func newConnSet(c *Client, dial func(*callLimit) (clientConn, error)) (*connSet, error) {
	s := &connSet{client: c, first: &line{limit: &callLimit{}}, dial: dial, idle: idleAfter}
	var err error
	if s.first.conn, err = dial(s.first.limit); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(c.ctx)
	return s, nil
}

// Invoke makes a call.
func (s *connSet) Invoke(
	ctx context.Context, method string, request, answer any, options ...grpc.CallOption,
) error {
	return s.first.conn.Invoke(ctx, method, request, answer, options...)
}

// NewStream opens a stream on the first connection that has room for it, and waits for one to be
// made where none has.
func (s *connSet) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	for {
		l, holds, err := s.take(ctx)
		if err != nil {
			return nil, err
		}
		own, cancel := context.WithCancel(ctx)
		// It is called when the stream has ended, and when it could not be opened.
		leave := grpc.OnFinish(func(error) {
			cancel()
			s.leave(l)
		})
		// One that is opened while a connection is lost waits for the next, and that may take fewer.
		unbind := context.AfterFunc(holds, cancel)
		stream, err := l.conn.NewStream(own, desc, method, append(slices.Clone(options), leave)...)
		if unbind() {
			return stream, err
		}
		cancel()
	}
}

// take finds room for a stream, which leave gives back. There is room until the context ends.
func (s *connSet) take(ctx context.Context) (*line, context.Context, error) {
	for {
		s.mu.Lock()
		if l, holds := s.roomLocked(); l != nil {
			l.streams++
			s.mu.Unlock()
			return l, holds, nil
		}
		g, err := s.growLocked()
		s.mu.Unlock()
		if err != nil {
			return nil, nil, err
		}
		select {
		case <-g.done:
			if g.err != nil {
				return nil, nil, g.err
			}
		case <-ctx.Done():
			e := newError("open stream", "", status.FromContextError(ctx.Err()).Code(), OutcomeNo,
				"%v, and no other was made in time", errNoRoom)
			e.cause = errNoRoom
			return nil, nil, e
		}
	}
}

// roomLocked looks for room in order, so that the last connections are the first that nobody uses.
func (s *connSet) roomLocked() (*line, context.Context) {
	if most, holds := s.first.limit.streams(); s.first.streams < most {
		return s.first, holds
	}
	for _, l := range s.further {
		// One that is going away, or lost, has none.
		most, holds := l.limit.streams()
		if l.streams < max(most, 1) && l.conn.GetState() == connectivity.Ready {
			return l, holds
		}
	}
	return nil, nil
}

// growLocked has another connection made, one at a time.
func (s *connSet) growLocked() (*growth, error) {
	switch {
	case s.closed:
		return nil, closedError("open stream", "client")
	case s.growing != nil:
		return s.growing, nil
	case time.Now().Before(s.again):
		return nil, s.failure
	}
	g := &growth{done: make(chan struct{})}
	if !s.client.inBackground(func() { s.grow(g) }) {
		return nil, closedError("open stream", "client")
	}
	s.growing = g
	return g, nil
}

func (s *connSet) grow(g *growth) {
	defer close(g.done)
	l := &line{limit: &callLimit{}}
	var err error
	if l.conn, err = s.dial(l.limit); err == nil {
		if err = s.client.brokers.greet(s.ctx, l.conn); err != nil {
			_ = l.conn.Close() // nothing was opened on it
		}
	}
	s.mu.Lock()
	s.growing = nil
	switch {
	case s.closed:
		g.err = closedError("open stream", "client")
	case err != nil:
		e := newError("open stream", ReasonTooMany, codes.ResourceExhausted, OutcomeNo,
			"%v, and there is no further one: %v", errNoRoom, err)
		e.cause = errNoRoom
		g.err, s.failure, s.again = e, e, time.Now().Add(growAgain)
	default:
		s.further = append(s.further, l)
		s.idleLocked(l) // whoever it was made for may not wait any more
	}
	s.mu.Unlock()
	switch {
	case g.err == nil:
	case err == nil:
		_ = l.conn.Close() // nothing was opened on it
	case s.ctx.Err() == nil:
		s.client.log.Warn("ropewalk: no further connection for streams", "error", err)
	}
}

// leave gives back what take found.
func (s *connSet) leave(l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.streams--; l != s.first && !s.closed {
		s.idleLocked(l)
	}
}

// idleLocked has a connection closed when nothing comes for a while. It is not closed at once:
// streams that are opened anew, or end and begin, would have it made again and again.
func (s *connSet) idleLocked(l *line) {
	if l.streams > 0 {
		return
	}
	if l.closing != nil {
		l.closing.Stop()
	}
	l.closing = time.AfterFunc(s.idle, func() {
		s.client.inBackground(func() { s.closeIdle(l) })
	})
}

func (s *connSet) closeIdle(l *line) {
	s.mu.Lock()
	i := slices.Index(s.further, l)
	ends := i >= 0 && l.streams == 0
	if ends {
		s.further = slices.Delete(s.further, i, i+1)
	}
	s.mu.Unlock()
	if ends {
		_ = l.conn.Close() // a second close is the only thing that can fail
	}
}

// Connect has the first connection made now.
func (s *connSet) Connect() { s.first.conn.Connect() }

// GetState is that of the first connection.
func (s *connSet) GetState() connectivity.State { return s.first.conn.GetState() }

// WaitForStateChange waits for a change of the first connection.
func (s *connSet) WaitForStateChange(ctx context.Context, last connectivity.State) bool {
	return s.first.conn.WaitForStateChange(ctx, last)
}

// Close closes all of them, and what is open on them.
func (s *connSet) Close() error {
	s.mu.Lock()
	s.closed = true
	s.cancel() // who waits for a connection that fails by this is told that all are closed
	further := s.further
	s.further = nil
	for _, l := range further {
		if l.closing != nil {
			l.closing.Stop()
		}
	}
	s.mu.Unlock()
	errs := []error{s.first.conn.Close()}
	for _, l := range further {
		errs = append(errs, l.conn.Close())
	}
	return errors.Join(errs...)
}
