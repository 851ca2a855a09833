package ropewalk

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// A watchCall is one call of a method that tells of changes, with its first event: a call that nobody
// has taken gives none.
type watchCall[T any] struct {
	client *Client
	op     string
	rpc    grpc.ServerStreamingClient[T]
	cancel context.CancelFunc
	first  *T
}

// openWatch starts a call, for as long as a read is tried. The call lives as long as the context.
func openWatch[T any](ctx context.Context, c *Client, op string,
	start func(context.Context) (grpc.ServerStreamingClient[T], error)) (*watchCall[T], error) {
	opened, err := call(ctx, c, op, true,
		func(limit context.Context) (*watchCall[T], error) {
			own, cancel := context.WithCancel(ctx)
			unbind := context.AfterFunc(limit, cancel)
			rpc, err := start(own)
			var first *T
			if err == nil {
				first, err = rpc.Recv()
			}
			if err == nil && !unbind() {
				err = limit.Err()
			}
			if err != nil {
				cancel()
				return nil, err
			}
			return &watchCall[T]{c, op, rpc, cancel, first}, nil
		})
	if err != nil && ctx.Err() != nil {
		return nil, watchEnded(ctx, c, op)
	}
	return opened, err
}

// watchEnded says why there is nothing more: the client was closed, or the context has ended.
func watchEnded(ctx context.Context, c *Client, op string) *Error {
	if c.isClosed() {
		return closedError(op, "client")
	}
	return contextError(op, ctx, OutcomeNo)
}

// next waits for the next event of the call.
func (w *watchCall[T]) next(ctx context.Context) (*T, *Error) {
	message, err := w.rpc.Recv()
	switch {
	case err == nil:
		return message, nil
	case ctx.Err() != nil:
		return nil, watchEnded(ctx, w.client, w.op)
	case errors.Is(err, io.EOF):
		return nil, newError(w.op, ReasonDisconnected, codes.Unavailable, OutcomeNo,
			"the broker ended the stream")
	default:
		return nil, fromRPC(w.op, err)
	}
}
