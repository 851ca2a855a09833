// Package ropewalktest starts real brokers for tests.
//
//	func TestOrders(t *testing.T) {
//		broker := ropewalktest.Start(t)
//		client, err := ropewalk.Dial(t.Context(), []string{broker.Address})
//		...
//	}
//
// A broker is a process of the `ropewalk` binary (see [Binary]) on free ports of the loopback address,
// with a data directory of its own. It is there within some tens of milliseconds, so every test can have
// one, and it ends with the test.
package ropewalktest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const (
	// startTimeout is how long a broker may take to answer its first call.
	startTimeout = 20 * time.Second
	// askAgain is the pause before it is asked once more.
	askAgain = 5 * time.Millisecond
)

// Broker is a running broker.
type Broker struct {
	// Address is where clients reach it, as HOST:PORT.
	Address string
	// AdminAddress is where its metrics and its health are, over HTTP.
	AdminAddress string

	t       testing.TB
	binary  string
	dir     string
	flags   []string
	command *exec.Cmd
	exited  chan error
}

// An Option changes how brokers are started.
type Option func(*settings)

type settings struct {
	address    string
	flags      []string
	advertised []string
}

// WithAddress has a broker listen on an address of its caller's choice instead of a free port.
func WithAddress(address string) Option {
	return func(s *settings) { s.address = address }
}

// WithFlags gives `ropewalk serve` further flags, such as "--default-partitions=3", or
// "--storage=memory" for a log that is gone when the process ends.
func WithFlags(flags ...string) Option {
	return func(s *settings) { s.flags = append(s.flags, flags...) }
}

func chosen(options []Option) settings {
	var s settings
	for _, option := range options {
		option(&s)
	}
	return s
}

// Start runs a broker until the test ends. It takes calls when Start returns; the test fails when it
// does not.
func Start(t testing.TB, options ...Option) *Broker {
	t.Helper()
	s := chosen(options)
	if s.address == "" {
		s.address = freeAddress(t)
	}
	b := newBroker(t, Binary(t), s.address, s.flags)
	b.Run()
	return b
}

// newBroker is a broker that does not run yet, and that ends with the test.
func newBroker(t testing.TB, binary, address string, flags []string) *Broker {
	t.Helper()
	b := &Broker{
		Address: address, AdminAddress: freeAddress(t), t: t, binary: binary, dir: t.TempDir(), flags: flags,
	}
	t.Cleanup(b.Kill)
	return b
}

// Run starts the process again that Stop or Kill has ended, with what is on its disk and at the same
// address, and waits until it takes calls.
func (b *Broker) Run() {
	b.t.Helper()
	if err := b.start(); err != nil {
		b.t.Fatal(err)
	}
	if err := b.await(); err != nil {
		b.t.Fatalf("the broker did not start: %v\n%s", err, b.log())
	}
}

// Kill ends the process at once, as a crash does.
func (b *Broker) Kill() { b.end(syscall.SIGKILL) }

// Stop ends the process in order.
func (b *Broker) Stop() { b.end(syscall.SIGTERM) }

func (b *Broker) end(signal syscall.Signal) {
	if b.command == nil {
		return
	}
	_ = b.command.Process.Signal(signal) // it may have exited already
	<-b.exited
	b.command = nil
}

func (b *Broker) start() error {
	output, err := os.OpenFile(b.output(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	flags := append([]string{"serve", "--data-dir", filepath.Join(b.dir, "data"),
		"--listen", b.Address, "--admin-listen", b.AdminAddress}, b.flags...)
	b.command = exec.Command(b.binary, flags...)
	b.command.Env = environment()
	b.command.Stdout, b.command.Stderr = output, output
	if err := b.command.Start(); err != nil {
		b.command = nil
		return err
	}
	exited := make(chan error, 1)
	b.exited = exited
	go func(c *exec.Cmd) { exited <- c.Wait() }(b.command)
	return nil
}

// environment is ours without settings of brokers: the test's own are no settings, which a broker
// refuses, and others would change what is tested.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "ROPEWALK_")
	})
}

func (b *Broker) await() error {
	deadline := time.Now().Add(startTimeout)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		client, err := ropewalk.Dial(ctx, []string{b.Address})
		cancel()
		if err == nil {
			return client.Close()
		}
		select {
		case exit := <-b.exited:
			b.exited <- exit
			return errors.Join(errors.New("the process exited"), exit)
		case <-time.After(askAgain):
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// output is where the process writes its log, over all of its runs.
func (b *Broker) output() string { return filepath.Join(b.dir, "output") }

func (b *Broker) log() string {
	log, _ := os.ReadFile(b.output()) // where there is none, there is nothing to show
	return string(log)
}

// firstPort and lastPort bound the ports of the brokers. The system takes the local ports of outgoing
// connections from above them: also that of one to a broker that does not listen yet, which would then
// keep it from listening.
const firstPort, lastPort = 10_000, 32_000

// given are the addresses that a broker of this process has, or is about to listen on.
var given sync.Map

// freeAddress returns an address of this machine that nobody listens on, and never one again.
func freeAddress(t testing.TB) string {
	t.Helper()
	var err error
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		if _, again := given.LoadOrStore(address, true); again {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			_ = l.Close() // nothing was accepted
			return address
		}
	}
	t.Fatal("no port is free:", err)
	return ""
}
