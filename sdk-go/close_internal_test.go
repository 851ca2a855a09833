package ropewalk

import (
	"context"
	"errors"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A hungConn answers nothing until it is closed.
type hungConn struct {
	fakeConn
	asked, closed chan struct{}
	once          sync.Once
}

func (h *hungConn) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	close(h.asked)
	<-h.closed
	return status.Error(codes.Canceled, "the connection is closing")
}

func (h *hungConn) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Of a write that was under way when the client was closed nobody knows.
func TestAWriteUnderWayAtCloseIsMaybe(t *testing.T) {
	conn := &hungConn{asked: make(chan struct{}), closed: make(chan struct{})}
	config := defaultClientConfig()
	c := newClient(config, []string{"fake:1"})
	c.connected(conn)
	failure := make(chan error, 1)
	go func() {
		_, err := c.Admin().DeleteRecords(context.Background(), "t", map[int32]int64{0: 1})
		failure <- err
	}()
	<-conn.asked
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	var e *Error
	if err := <-failure; !errors.As(err, &e) || e.Reason != ReasonClosed ||
		e.Appended() != OutcomeMaybe {
		t.Errorf("it failed with %v", err)
	}
	_, err := c.Admin().DeleteRecords(context.Background(), "t", map[int32]int64{0: 1})
	if !errors.As(err, &e) || e.Reason != ReasonClosed || e.Appended() != OutcomeNo {
		t.Errorf("what was not begun failed with %v", err)
	}
}
