package sarama

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// forever is an age that nothing reaches.
const forever = 100 * 365 * 24 * time.Hour

// connect opens a client of the core, trying as often as the config says.
func connect(addrs []string, config *Config) (*ropewalk.Client, error) {
	if len(addrs) == 0 {
		return nil, ErrOutOfBrokers
	}
	ctx, cancel := config.metadataContext()
	defer cancel()
	for retries := 0; ; retries++ {
		client, err := dial(ctx, addrs, config)
		if err == nil {
			return client, nil
		}
		if ctx.Err() != nil {
			return nil, Wrap(ErrOutOfBrokers, err)
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
		select {
		case <-ctx.Done():
			return nil, Wrap(ErrOutOfBrokers, err)
		case <-time.After(pause):
		}
	}
}

// metadataContext ends after Metadata.Timeout, if there is one.
func (c *Config) metadataContext() (context.Context, context.CancelFunc) {
	if c.Metadata.Timeout > 0 {
		return context.WithTimeout(context.Background(), c.Metadata.Timeout)
	}
	return context.Background(), func() {}
}

func dial(ctx context.Context, addrs []string, config *Config) (*ropewalk.Client, error) {
	if config.Net.ResolveCanonicalBootstrapServers {
		names, err := canonical(ctx, addrs, net.DefaultResolver)
		if err != nil {
			return nil, Wrap(ErrOutOfBrokers, err)
		}
		addrs = names
	}
	return ropewalk.Dial(ctx, addrs, config.clientOptions()...)
}

// clientOptions are those of a client of the core.
func (c *Config) clientOptions() []ropewalk.ClientOption {
	age := c.Metadata.RefreshFrequency
	if age == 0 {
		age = forever
	}
	options := []ropewalk.ClientOption{
		ropewalk.WithClientID(c.ClientID),
		ropewalk.WithDialTimeout(c.Net.DialTimeout),
		ropewalk.WithRequestTimeout(c.Net.ReadTimeout),
		ropewalk.WithMetadataAge(age),
		ropewalk.WithDialer(c.dialer()),
		ropewalk.WithLogger(slog.New(logHandler{})),
	}
	if c.Net.TLS.Enable {
		options = append(options, ropewalk.WithTLS(c.Net.TLS.Config))
	}
	if !c.Metadata.AllowAutoTopicCreation {
		options = append(options, ropewalk.WithoutTopicCreation())
	}
	return options
}

// logHandler passes what the core logs to Logger, what helps to find faults to DebugLogger.
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
	if r.Level < slog.LevelInfo {
		DebugLogger.Println(b.String())
	} else {
		Logger.Println(b.String())
	}
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
