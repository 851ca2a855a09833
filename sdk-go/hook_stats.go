package ropewalk

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// dialOption has gRPC say what becomes of connections and calls, where a hook wants to know.
func (h *hooks) dialOption() grpc.DialOption {
	if len(h.connected)+len(h.disconnected)+len(h.requests) == 0 {
		return grpc.EmptyDialOption{}
	}
	return grpc.WithStatsHandler(&statsHandler{h})
}

// A statsHandler is told by gRPC, and tells hooks.
type statsHandler struct{ hooks *hooks }

// The keys under which the contexts of connections and calls have what is known of them.
type (
	connectionKey struct{}
	requestKey    struct{}
)

type connection struct {
	address, local string
	began          time.Time
}

// A request counts the bytes of a call: of a stream, both directions at once.
type request struct {
	method         string
	address        atomic.Value // string
	stream         atomic.Bool
	sent, received atomic.Int64
}

// TagConn notes the ends of a connection.
func (s *statsHandler) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{
		address: addressOf(info.RemoteAddr), local: addressOf(info.LocalAddr), began: time.Now(),
	})
}

func addressOf(address net.Addr) string {
	if address == nil {
		return ""
	}
	return address.String()
}

// HandleConn tells of a connection.
func (s *statsHandler) HandleConn(ctx context.Context, event stats.ConnStats) {
	c, ok := ctx.Value(connectionKey{}).(*connection)
	if !ok {
		return
	}
	h := s.hooks
	switch event.(type) {
	case *stats.ConnBegin:
		tell(h, h.connected, HookBrokerConnected.OnBrokerConnected, BrokerConnected{
			Address: c.address, Local: c.local, ClientID: h.clientID,
		})
	case *stats.ConnEnd:
		tell(h, h.disconnected, HookBrokerDisconnected.OnBrokerDisconnected, BrokerDisconnected{
			Address: c.address, Local: c.local, Duration: time.Since(c.began),
		})
	}
}

// TagRPC notes a call.
func (s *statsHandler) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, requestKey{}, &request{method: info.FullMethodName})
}

// HandleRPC counts what a call sends and receives, and tells of its end.
func (s *statsHandler) HandleRPC(ctx context.Context, event stats.RPCStats) {
	r, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return
	}
	switch e := event.(type) {
	case *stats.Begin:
		r.stream.Store(e.IsClientStream || e.IsServerStream)
	case *stats.OutHeader:
		r.address.Store(addressOf(e.RemoteAddr))
	case *stats.OutPayload:
		r.sent.Add(int64(e.CompressedLength))
	case *stats.InPayload:
		r.received.Add(int64(e.CompressedLength))
	case *stats.End:
		s.ended(r, e)
	}
}

func (s *statsHandler) ended(r *request, end *stats.End) {
	event := RequestDone{
		Method: r.method, Stream: r.stream.Load(), Duration: end.EndTime.Sub(end.BeginTime),
		SentBytes: r.sent.Load(), ReceivedBytes: r.received.Load(),
	}
	event.Address, _ = r.address.Load().(string) // none where it found no connection
	if e := fromRPC("request", end.Error); e != nil {
		event.Err = e
	}
	tell(s.hooks, s.hooks.requests, HookRequestDone.OnRequestDone, event)
}
