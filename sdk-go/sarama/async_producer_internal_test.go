package sarama

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// lines is a Logger that keeps what it is told.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Print(v ...any)                 { l.add(fmt.Sprint(v...)) }
func (l *lines) Printf(format string, v ...any) { l.add(fmt.Sprintf(format, v...)) }
func (l *lines) Println(v ...any)               { l.add(fmt.Sprintln(v...)) }

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

func (l *lines) count(part string) (count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, part) {
			count++
		}
	}
	return count
}

// logLines has this package log to a test. Nothing of the package may run.
func logLines(t testing.TB) *lines {
	before, l := Logger, &lines{}
	Logger = l
	t.Cleanup(func() { Logger = before })
	return l
}

// Somebody has called Input, and sends when both channels are closed already: that is in the log,
// and the producer has waited for it.
func TestTheEndWaitsForWhoHasCalledInput(t *testing.T) {
	log := logLines(t)
	server, err := testserver.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	config := NewConfig()
	common, err := dialProducer([]string{server.Address()}, config)
	if err != nil {
		t.Fatal(err)
	}
	p := newAsyncProducer(common)
	p.lateFor = time.Hour // take looks at it in the end only
	input := p.Input()
	p.AsyncClose()
	for range p.Errors() {
		t.Error("an error")
	}
	<-p.over // nobody takes any more, but for whom is waited
	input <- &ProducerMessage{Topic: "t"}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if n := log.count("dropped: "); n != 1 {
		t.Errorf("%d lines", n)
	}
}
