//go:build unix

// Package examples holds small complete programs, and the test that runs them.
package examples

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// The programs name this address in their text.
const address = "localhost:9092"

const patience = 90 * time.Second

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
	tellers := start(t, "event-sourcing", server(broker))
	if line := tellers.line(t, patience); line != "account-7 has 1000 after 41 events" {
		t.Errorf("the program said %q", line)
	}
	if err := tellers.wait(); err != nil {
		t.Errorf("the program failed: %v", err)
	}
	// Whoever comes later finds the account, which is open.
	later := start(t, "event-sourcing", server(broker))
	if err := later.wait(); err == nil || !strings.Contains(err.Error(), "the account is open already") {
		t.Errorf("another run ended with %v", err)
	}
	accounts, _, err := connect(t, broker).Admin().GetTopic(limited(t), "accounts")
	if err != nil || accounts.Settings.Retention >= 0 {
		t.Errorf("the topic is %+v, %v", accounts, err)
	}
}

// Where events are missing, or will be, there are no accounts, rather than wrong ones.
func TestEventSourcingMissesNoEvent(t *testing.T) {
	broker := ropewalktest.Start(t)
	admin := connect(t, broker).Admin()
	ends := func(with string) {
		t.Helper()
		program := start(t, "event-sourcing", server(broker))
		if err := program.wait(); err == nil || !strings.Contains(err.Error(), with) {
			t.Errorf("the program ended with %v", err)
		}
	}
	if _, err := admin.CreateTopic(limited(t), "accounts", 1); err != nil { // kept for 7 days
		t.Fatal(err)
	}
	ends("does not keep its records for ever: retention 168h0m0s")

	forever := ropewalk.Retention(ropewalk.KeepForever)
	if _, err := admin.UpdateTopic(limited(t), "accounts", forever); err != nil {
		t.Fatal(err)
	}
	start(t, "event-sourcing", server(broker)).succeed(t)
	_, err := admin.DeleteRecords(limited(t), "accounts", map[int32]int64{0: 5})
	if err != nil {
		t.Fatal(err)
	}
	ends("offsets 0 to 4 of accounts/0 were deleted before they were read")
}

// An event that cannot have happened makes no balance.
func TestEventSourcingRefusesWhatCannotBe(t *testing.T) {
	broker := ropewalktest.Start(t)
	client := connect(t, broker)
	forever := ropewalk.Retention(ropewalk.KeepForever)
	if _, err := client.Admin().CreateTopic(limited(t), "accounts", 1, forever); err != nil {
		t.Fatal(err)
	}
	producer, err := client.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"opened 0", "paid-in 100", "taken-out 101"} {
		record := &ropewalk.Record{Topic: "accounts", Key: []byte("a"), Value: []byte(value)}
		if _, err := producer.Send(limited(t), record); err != nil {
			t.Fatal(err)
		}
	}
	program := startWith(t, []string{"event-sourcing", "a"}, server(broker))
	err = program.wait()
	if err == nil || !strings.Contains(err.Error(), `"taken-out 101" at offset 2 cannot be`) {
		t.Errorf("the program ended with %v", err)
	}
}

// built is the folder with the programs. They are not run with `go run`, which does not tell the status
// with which an interrupted program ends.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ropewalk-examples-")
	if err != nil {
		return "", err
	}
	cleanUp = func() { _ = os.RemoveAll(dir) }
	output, err := exec.Command("go", "build", "-o", dir+"/", "./...").CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("%w: %s", err, output)
	}
	return dir, nil
})

// program is one that runs.
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
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	p := &program{
		command: exec.CommandContext(ctx, filepath.Join(dir, arguments[0]), arguments[1:]...),
		lines:   make(chan string, 100),
		exited:  make(chan error, 1),
	}
	p.command.Env = append(os.Environ(), environment...)
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
	t.Cleanup(func() { _ = p.signal(os.Kill) }) // it may have exited
	return p
}

func (p *program) signal(s os.Signal) error { return p.command.Process.Signal(s) }

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
	_ = p.signal(os.Kill) // it may have exited
	return p.wait()
}

// interrupt ends the program as Ctrl-C does, and it is to end well.
func (p *program) interrupt(t *testing.T) {
	t.Helper()
	if err := p.signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.exited:
		if err != nil {
			t.Errorf("the program did not end well: %v", err)
		}
		p.exited <- err
	case <-time.After(patience):
		t.Error("the program did not end when it was interrupted")
	}
}
