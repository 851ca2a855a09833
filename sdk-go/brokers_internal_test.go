package ropewalk

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
)

// A partingHook is told when a connection has ended, and runs a function then.
type partingHook func()

func (f partingHook) OnBrokerDisconnected(BrokerDisconnected) { f() }

// Hooks are told of the end of a connection while nobody is kept from the brokers: one that waits
// for a goroutine which sends would otherwise wait forever.
func TestConnectionsEndWithoutTheLock(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer() // no broker: it knows no call, and is let go of
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})

	var c *Client
	told := make(chan bool, 1)
	config := defaultClientConfig()
	config.logger = slog.New(slog.DiscardHandler)
	config.hooks = []Hook{partingHook(func() {
		free := make(chan struct{})
		go func() {
			c.brokers.haveChoice()
			close(free)
		}()
		select {
		case <-free:
			told <- true
		case <-time.After(10 * time.Second):
			told <- false
		}
	})}
	c = newClient(config, []string{"fake:1"})
	c.connected(&fakeConn{})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	c.brokers.note(1, "fake:1")
	c.brokers.note(2, listener.Addr().String())
	if c.brokers.use(2) != nil {
		t.Fatal("there is no connection yet")
	}
	if !<-told {
		t.Error("the brokers were locked when the hook was called")
	}
}
