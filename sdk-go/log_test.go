package ropewalk_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A broker that is away for long fills no log: there are ever fewer warnings, and hooks are told of
// each failure.
func TestAnOutageFillsNoLog(t *testing.T) {
	server, w := newServer(t), newWitness()
	var log lockedBuffer
	client, err := ropewalk.Dial(testContext(t), []string{server.Address()},
		ropewalk.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), ropewalk.WithHooks(w))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	produce(t, client, "t", "a")
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"),
		ropewalk.WithReconnectBackoff(func(int) time.Duration { return time.Millisecond }))
	expect(t, consumer, "a")
	server.Stop()
	toldOf(t, w, func(e ropewalk.StreamBroken) bool {
		return e.Kind == ropewalk.ConsumeStream && e.Failures == 20
	})
	if err := consumer.Close(); err != nil {
		t.Fatal(err)
	}
	failures := 0
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, event := range w.events {
		if e, ok := event.(ropewalk.StreamBroken); ok && e.Kind == ropewalk.ConsumeStream {
			failures = max(failures, e.Failures)
		}
	}
	want := 0
	for n := 1; n <= failures; n *= 2 {
		want++
	}
	if n := strings.Count(log.String(), "subscribe stream broke"); n != want {
		t.Errorf("%d warnings of %d failures, not %d: %s", n, failures, want, log.String())
	}
	if !strings.Contains(log.String(), "broker=") {
		t.Error("no broker is named")
	}
}
