// Package brokertest is what lies between a broker and a client in tests, and what a broker tells of
// itself.
package brokertest

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
)

// A Forward takes connections on an address of its own and forwards them to another one, as a
// port-forward does.
type Forward struct {
	Address string

	t      testing.TB
	target string
	// tls has what it takes from clients come over TLS, and go on without.
	tls *tls.Config

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]struct{}
	tasks    sync.WaitGroup
}

// NewForward forwards to an address until the test ends.
func NewForward(t testing.TB, target string) *Forward {
	t.Helper()
	return newForward(t, target, nil)
}

// NewTLSForward is as NewForward, and ends the TLS of clients in front of a broker that has none.
func NewTLSForward(t testing.TB, target string, config *tls.Config) *Forward {
	t.Helper()
	return newForward(t, target, config)
}

func newForward(t testing.TB, target string, config *tls.Config) *Forward {
	t.Helper()
	f := &Forward{
		Address: "127.0.0.1:0", t: t, target: target, tls: config, conns: map[net.Conn]struct{}{},
	}
	f.Open()
	t.Cleanup(func() {
		f.Cut()
		f.tasks.Wait()
	})
	return f
}

// Open takes connections, also again after Cut, at the same address.
func (f *Forward) Open() {
	f.t.Helper()
	listener, err := net.Listen("tcp", f.Address)
	if err != nil {
		f.t.Fatal(err)
	}
	address := listener.Addr().String()
	if f.tls != nil {
		listener = tls.NewListener(listener, f.tls)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Address, f.listener = address, listener
	f.tasks.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // it was cut
			}
			f.tasks.Go(func() { f.forward(conn) })
		}
	})
}

// Cut breaks every connection, and takes no more.
func (f *Forward) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.listener.Close() // it may be closed already
	for conn := range f.conns {
		_ = conn.Close()
	}
}

func (f *Forward) forward(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", f.target)
	if err != nil {
		return
	}
	defer far.Close()
	f.mu.Lock()
	f.conns[near], f.conns[far] = struct{}{}, struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.conns, near)
		delete(f.conns, far)
	}()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(near, far) // how it ends does not matter
		_ = near.Close()
	})
	_, _ = io.Copy(far, near)
	_ = far.Close()
	back.Wait()
}
