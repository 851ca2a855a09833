package sarama

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// connect opens a client of the core, trying as often as the config says.
func connect(addrs []string, config *Config) (*ropewalk.Client, error) {
	if len(addrs) == 0 {
		return nil, ErrOutOfBrokers
	}
	for retries := 0; ; retries++ {
		client, err := ropewalk.Dial(context.Background(), addrs,
			ropewalk.WithClientID(config.ClientID),
			ropewalk.WithDialTimeout(config.Net.DialTimeout),
			ropewalk.WithLogger(slog.New(logHandler{})),
		)
		if err == nil {
			return client, nil
		}
		var e *ropewalk.Error
		if retries >= config.Metadata.Retry.Max || errors.As(err, &e) && !e.Retriable() {
			return nil, mapError(err)
		}
		pause := config.Metadata.Retry.Backoff
		if f := config.Metadata.Retry.BackoffFunc; f != nil {
			pause = f(retries, config.Metadata.Retry.Max)
		}
		Logger.Printf("no broker yet, trying again in %v: %v\n", pause, err)
		time.Sleep(pause)
	}
}

// logHandler passes what the core logs to Logger, which a program may set at any time.
type logHandler struct{ prefix string }

// Enabled passes everything: a StdLogger has no levels.
func (h logHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle writes one line.
func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message + h.prefix)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(" " + a.String())
		return true
	})
	Logger.Println(b.String())
	return nil
}

// WithAttrs writes the attributes on every line.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.prefix += " " + a.String()
	}
	return h
}

// WithGroup has no meaning in lines of text.
func (h logHandler) WithGroup(string) slog.Handler { return h }
