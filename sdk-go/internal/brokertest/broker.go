// Package brokertest starts the real broker for tests.
package brokertest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// startTimeout is how long a broker may take to answer its first call.
const startTimeout = 20 * time.Second

// Binary returns the broker's binary: $ROPEWALK_BIN, else what cargo built in this repository.
// Without one the test is skipped, or fails where the variable CI is true.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("ROPEWALK_BIN")
	if path == "" {
		_, here, _, _ := runtime.Caller(0)
		path = filepath.Join(filepath.Dir(here), "..", "..", "..", "target", "debug", "ropewalk")
	}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return path
	}
	message := "the broker's binary is not at " + path +
		": run `cargo build` in the repository, or set ROPEWALK_BIN"
	if os.Getenv("CI") == "true" {
		t.Fatal(message)
	}
	t.Skip(message)
	return ""
}

// Broker is a running broker.
type Broker struct {
	Address string

	t       testing.TB
	binary  string
	dir     string
	admin   string
	flags   []string
	command *exec.Cmd
	exited  chan error
}

// Start runs a broker on free ports, with a data directory of its own, until the test ends.
func Start(t testing.TB) *Broker {
	t.Helper()
	return StartAt(t, freeAddress(t))
}

// StartAt is as Start, listening on an address.
func StartAt(t testing.TB, address string) *Broker {
	t.Helper()
	b := &Broker{Address: address, t: t, binary: Binary(t), dir: t.TempDir(), admin: freeAddress(t)}
	b.Run()
	t.Cleanup(b.Kill)
	return b
}

// Run starts the process, and waits until it answers.
func (b *Broker) Run() {
	b.t.Helper()
	if err := b.start(); err != nil {
		b.t.Fatal(err)
	}
	if err := b.await(); err != nil {
		b.t.Fatalf("the broker did not start: %v\n%s", err, b.log())
	}
}

func (b *Broker) log() string {
	log, _ := os.ReadFile(b.output()) // where there is none, there is nothing to show
	return string(log)
}

func (b *Broker) start() error {
	output, err := os.OpenFile(b.output(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	flags := append([]string{"serve", "--data-dir", filepath.Join(b.dir, "data"),
		"--listen", b.Address, "--admin-listen", b.admin}, b.flags...)
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
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return err
		}
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

// firstPort and lastPort bound the ports of the brokers. The system takes the local ports of outgoing
// connections from above them: also that of one to a broker that does not listen yet, which would then
// keep it from listening.
const firstPort, lastPort = 10_000, 32_000

// freeAddress returns an address of this machine that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	for {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		l, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
}
