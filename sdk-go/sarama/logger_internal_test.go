package sarama

import (
	"log"
	"strings"
	"testing"
)

func TestDebugLoggerFollowsLogger(t *testing.T) {
	var out strings.Builder
	before := Logger
	t.Cleanup(func() { Logger = before })
	Logger = log.New(&out, "", 0)
	DebugLogger.Print("a")
	DebugLogger.Printf("%s", "b")
	DebugLogger.Println("c")
	if got := out.String(); got != "a\nb\nc\n" {
		t.Errorf("logged %q", got)
	}
}

func TestPanicHandler(t *testing.T) {
	before := PanicHandler
	t.Cleanup(func() { PanicHandler = before })
	var caught any
	PanicHandler = func(value any) { caught = value }
	withRecover(func() { panic("a") })
	if caught != "a" {
		t.Errorf("caught %v", caught)
	}
	PanicHandler = nil
	defer func() {
		if got := recover(); got != "b" {
			t.Errorf("recovered %v", got)
		}
	}()
	withRecover(func() { panic("b") })
}
