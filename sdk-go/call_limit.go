package ropewalk

import (
	"context"
	"encoding/binary"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

// maxLineStreams is how many streams a connection carries at most, also where the broker takes
// more.
const maxLineStreams = 500

// A callLimit is how many calls at a time, streams among them, the other end of a connection takes.
// It says so where the connection begins. gRPC keeps to it, and has what is beyond it wait; but it
// does not tell how many those are.
type callLimit struct {
	mu   sync.Mutex
	told uint32 // 0: it sets none
	// holds ends when fewer are told.
	holds context.Context
	end   context.CancelFunc
}

// streams is how many of them may be streams: half, as calls that wait behind streams wait for as
// long as those are open. The context ends once that is too many.
func (l *callLimit) streams() (int, context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holds == nil {
		l.holds, l.end = context.WithCancel(context.Background())
	}
	return streamsOf(l.told), l.holds
}

// tell takes what the other end of a new connection says, before any stream is opened on that.
func (l *callLimit) tell(told uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holds != nil && streamsOf(told) < streamsOf(l.told) {
		l.end()
		l.holds = nil
	}
	l.told = told
}

func streamsOf(calls uint32) int {
	if calls == 0 {
		return maxLineStreams
	}
	return int(min(calls/2, maxLineStreams))
}

// heardBy gives credentials for connections that hear the limit.
func (l *callLimit) heardBy(
	inner credentials.TransportCredentials,
) credentials.TransportCredentials {
	return hearing{inner, l}
}

type hearing struct {
	credentials.TransportCredentials
	limit *callLimit
}

// ClientHandshake has the connection read along with gRPC, behind TLS where there is some.
func (h hearing) ClientHandshake(
	ctx context.Context, authority string, conn net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := h.TransportCredentials.ClientHandshake(ctx, authority, conn)
	if err != nil {
		return nil, nil, err
	}
	return &hearingConn{Conn: conn, limit: h.limit}, info, nil
}

// Clone returns credentials that hear the same.
func (h hearing) Clone() credentials.TransportCredentials {
	return hearing{h.TransportCredentials.Clone(), h.limit}
}

// What HTTP/2 (RFC 9113) says of the first frame that comes: a head of nine bytes, which begins
// with the length of the rest and the type, and then settings of six bytes, each its number and its
// value.
const (
	frameHead           = 9
	settingsFrame       = 4
	settingBytes        = 6
	concurrentStreams   = 3
	longestFirstSetting = 16 << 10
)

// A hearingConn reads along in the first frame that comes. gRPC takes no connection into use before
// it has read that, and reads from one goroutine.
type hearingConn struct {
	net.Conn
	limit *callLimit
	// first is what has come of the frame.
	first []byte
	heard bool
}

func (c *hearingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.heard {
		c.first = append(c.first, p[:n]...)
		if c.heard = c.hear(); c.heard {
			c.first = nil
		}
	}
	return n, err
}

// hear reports whether there is nothing more to hear.
func (c *hearingConn) hear() bool {
	if len(c.first) < frameHead {
		return false
	}
	length := int(binary.BigEndian.Uint32(c.first) >> 8)
	if c.first[3] != settingsFrame || length > longestFirstSetting {
		return true
	}
	rest := c.first[frameHead:]
	if len(rest) < length {
		return false
	}
	told := uint32(0)
	for rest = rest[:length]; len(rest) >= settingBytes; rest = rest[settingBytes:] {
		if binary.BigEndian.Uint16(rest) == concurrentStreams {
			told = binary.BigEndian.Uint32(rest[2:])
		}
	}
	c.limit.tell(told)
	return true
}
