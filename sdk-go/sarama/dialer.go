package sarama

import (
	"context"
	"net"
	"strings"
	"time"
)

// ProxyDialer makes connections in the program's own way. It has the method of the Dialer of
// golang.org/x/net/proxy, whose values are ProxyDialers.
type ProxyDialer interface {
	// Dial connects to an address, HOST:PORT, over a network, tcp. A ProxyDialer that also has the
	// DialContext of golang.org/x/net/proxy's ContextDialer is called by that.
	Dial(network, addr string) (net.Conn, error)
}

// contextDialer is a ProxyDialer that gives up when it is told to.
type contextDialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// dialer makes connections as Net says.
func (c *Config) dialer() func(ctx context.Context, address string) (net.Conn, error) {
	var dial ProxyDialer = &net.Dialer{KeepAlive: c.Net.KeepAlive, LocalAddr: c.Net.LocalAddr}
	if c.Net.Proxy.Enable {
		dial = c.Net.Proxy.Dialer
	}
	timeout := c.Net.WriteTimeout
	return func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := dialWithin(ctx, dial, address)
		if err != nil {
			return nil, err
		}
		return &timedConn{conn, timeout}, nil
	}
}

// dialWithin returns when ctx ends, even if the dialer does not: what that makes later is closed.
func dialWithin(ctx context.Context, dialer ProxyDialer, address string) (net.Conn, error) {
	if d, ok := dialer.(contextDialer); ok {
		return d.DialContext(ctx, "tcp", address)
	}
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go withRecover(func() {
		conn, err := dialer.Dial("tcp", address)
		select {
		case done <- result{conn, err}:
		case <-ctx.Done():
			if err == nil {
				_ = conn.Close() // nobody is left to be told
			}
		}
	})
	select {
	case r := <-done:
		return r.conn, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// timedConn breaks when the network does not take what is written.
type timedConn struct {
	net.Conn
	timeout time.Duration
}

func (c *timedConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// canonical replaces addresses by the names that their IP addresses have in reverse.
func canonical(ctx context.Context, addrs []string, resolver *net.Resolver) ([]string, error) {
	var all []string
	for _, address := range addrs {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		ips, err := resolver.LookupHost(ctx, host)
		if err != nil {
			return nil, err
		}
		for _, ip := range ips {
			names, err := resolver.LookupAddr(ctx, ip)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				all = append(all, net.JoinHostPort(strings.TrimSuffix(name, "."), port))
			}
		}
	}
	return all, nil
}
