package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Levels of syslog.
const (
	logError   = 3
	logWarning = 4
	logInfo    = 6
	logDebug   = 7
)

// mostLogs is how many lines wait in a channel of logs.
const mostLogs = 10_000

// A LogEvent is a line of the client's log.
type LogEvent struct {
	// Name is the producer's or consumer's.
	Name string
	// Tag says what the line is about.
	Tag string
	// Message is the line.
	Message string
	// Level is syslog's: the lower, the worse.
	Level int
	// Timestamp is when it happened.
	Timestamp time.Time
}

// String is the event in one line.
func (e LogEvent) String() string {
	return fmt.Sprintf("[%v][%s][%s][%d]%s",
		e.Timestamp.Format(time.RFC3339), e.Name, e.Tag, e.Level, e.Message)
}

// A logHandler brings what the core logs to where the program wants it.
type logHandler struct {
	name  string
	least slog.Level
	// sink takes lines, if it has a channel.
	sink *logSink
	// next takes them where there is no channel.
	next  slog.Handler
	attrs []slog.Attr
}

// A logSink is the channel that takes lines. One that is full loses them: a log must not hold up
// what it tells of.
type logSink struct {
	to chan LogEvent

	mu     sync.Mutex
	closed bool
}

func (s *logSink) put(event LogEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	select {
	case s.to <- event:
	default:
	}
}

func (s *logSink) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	close(s.to)
}

func newLogger(name string, s *settings, sink *logSink) *slog.Logger {
	level := s.logLevel
	if s.debug {
		level = logDebug
	}
	h := &logHandler{name: name, sink: sink, next: slog.Default().Handler()}
	switch {
	case level >= logDebug:
		h.least = slog.LevelDebug
	case level > logWarning:
		h.least = slog.LevelInfo
	case level == logWarning:
		h.least = slog.LevelWarn
	default:
		h.least = slog.LevelError
	}
	return slog.New(h)
}

// Enabled reports whether lines of a level are taken.
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.least && (h.sink.to != nil || h.next.Enabled(ctx, level))
}

// Handle takes a line.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.sink.to == nil {
		return h.next.Handle(ctx, r)
	}
	var line strings.Builder
	line.WriteString(r.Message)
	write := func(a slog.Attr) bool {
		fmt.Fprintf(&line, " %s=%v", a.Key, a.Value)
		return true
	}
	for _, a := range h.attrs {
		write(a)
	}
	r.Attrs(write)
	h.sink.put(LogEvent{
		Name: h.name, Tag: "ROPEWALK", Message: line.String(),
		Level: syslogLevel(r.Level), Timestamp: r.Time,
	})
	return nil
}

func syslogLevel(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return logError
	case level >= slog.LevelWarn:
		return logWarning
	case level >= slog.LevelInfo:
		return logInfo
	}
	return logDebug
}

// WithAttrs has each line have more attributes.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = append(append([]slog.Attr(nil), h.attrs...), attrs...)
	c.next = h.next.WithAttrs(attrs)
	return &c
}

// WithGroup is for handlers that group attributes, which this one does not.
func (h *logHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.next = h.next.WithGroup(name)
	return &c
}
