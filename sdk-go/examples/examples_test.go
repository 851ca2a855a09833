//go:build unix

// Package examples holds small complete programs, and the test that runs them.
package examples

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// The programs name this address in their text.
const address = "localhost:9092"

const patience = 90 * time.Second // compiling the programs takes most of it

// The two programs run as they are, against the real broker: the consumer is started first, and prints
// what the producer sends afterwards.
func TestSaramaPrograms(t *testing.T) {
	if inOwnNetwork(t) {
		return
	}
	if c, err := net.Dial("tcp", address); err == nil {
		_ = c.Close()
		t.Skip("something else listens on " + address + ", and this system gives the test no network of its own")
	}
	broker := ropewalktest.Start(t, ropewalktest.WithAddress("127.0.0.1:9092"))
	consumer := start(t, "sarama-consumer")
	produced := regexp.MustCompile(`^Message sent to partition 0 at offset (\d+)$`)
	// The program says nothing when it is ready: produce until it has heard something.
	deadline := time.Now().Add(patience)
	for sent := 0; ; sent++ {
		producer := start(t, "sarama-producer")
		line := producer.line(t, patience)
		match := produced.FindStringSubmatch(line)
		if match == nil || sent == 0 && match[1] != "0" {
			t.Fatalf("the producer said %q", line)
		}
		if err := producer.wait(); err != nil {
			t.Fatalf("the producer failed: %v", err)
		}
		select {
		case got := <-consumer.lines:
			if got != "Received message: Hello, Kafka!" {
				t.Fatalf("the consumer said %q", got)
			}
			consumer.interrupt(t)
			broker.Stop()
			return
		case <-time.After(500 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("the consumer heard nothing")
		}
	}
}

// Two tellers change one account at once, and nothing of what they do is lost.
func TestEventSourcing(t *testing.T) {
	broker := ropewalktest.Start(t)
	tellers := start(t, "event-sourcing", "ROPEWALK_SERVER="+broker.Address)
	if line := tellers.line(t, patience); line != "account-7 has 1000 after 41 events" {
		t.Errorf("the program said %q", line)
	}
	if err := tellers.wait(); err != nil {
		t.Errorf("the program failed: %v", err)
	}
	// Whoever comes later finds the account, which is open.
	later := start(t, "event-sourcing", "ROPEWALK_SERVER="+broker.Address)
	if err := later.wait(); err == nil || !strings.Contains(err.Error(), "the account is open already") {
		t.Errorf("another run ended with %v", err)
	}
}

// program is a running `go run`, in a process group of its own, so that signals reach the program.
type program struct {
	command *exec.Cmd
	lines   chan string
	exited  chan error
}

func start(t *testing.T, name string, environment ...string) *program {
	t.Helper()
	return startWith(t, []string{name}, environment...)
}

// startWith is start with arguments after the name.
func startWith(t *testing.T, arguments []string, environment ...string) *program {
	t.Helper()
	arguments = append([]string{"run", "./" + arguments[0]}, arguments[1:]...)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	p := &program{
		command: exec.CommandContext(ctx, "go", arguments...),
		lines:   make(chan string, 100),
		exited:  make(chan error, 1),
	}
	p.command.Env = append(os.Environ(), environment...)
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.command.Cancel = func() error { return p.signal(syscall.SIGKILL) }
	reader, writer := io.Pipe()
	var stderr strings.Builder
	p.command.Stdout, p.command.Stderr = writer, &stderr
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for scanner := bufio.NewScanner(reader); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
		close(p.lines)
	}()
	go func() {
		err := p.command.Wait()
		_ = writer.Close()
		if err != nil {
			err = errors.Join(err, errors.New(stderr.String()))
		}
		p.exited <- err
	}()
	t.Cleanup(func() { _ = p.signal(syscall.SIGKILL) }) // it may have exited
	return p
}

func (p *program) signal(s syscall.Signal) error { return syscall.Kill(-p.command.Process.Pid, s) }

func (p *program) wait() error {
	err := <-p.exited
	p.exited <- err
	return err
}

func (p *program) line(t *testing.T, limit time.Duration) string {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			t.Fatalf("the program ended without a word: %v", p.wait())
		}
		return line
	case <-time.After(limit):
		t.Fatal("the program said nothing")
	}
	return ""
}

// kill ends the program as a crash does.
func (p *program) kill() error {
	_ = p.signal(syscall.SIGKILL) // it may have exited
	return p.wait()
}

// interrupt ends the program as Ctrl-C does.
func (p *program) interrupt(t *testing.T) {
	t.Helper()
	if err := p.signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		t.Error("the consumer did not end when it was interrupted")
	}
}
