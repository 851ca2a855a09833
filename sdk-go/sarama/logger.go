package sarama

import (
	"io"
	"log"
)

// StdLogger is what this package logs to; *log.Logger is one.
type StdLogger interface {
	Print(v ...any)
	Printf(format string, v ...any)
	Println(v ...any)
}

var (
	// Logger is where this package says what it does by itself: retries, reconnects and lost
	// records. It is silent unless a program sets it, before it makes clients.
	Logger StdLogger = log.New(io.Discard, "[Sarama] ", log.LstdFlags)

	// DebugLogger is where it says what helps to find faults: each request that is tried again,
	// each change of a leader. By default that goes to Logger, whatever that is at the time.
	DebugLogger StdLogger = debugLogger{}

	// PanicHandler is called with what a goroutine of this package panicked with, when it is set:
	// the program goes on then. It must be set before clients are made. Default: nil, the program
	// ends. Code of the program's own that this package calls, such as a handler of a consumer
	// group, runs in such goroutines. What panics while a producer prepares a message, in a
	// partitioner or an encoder, fails that message only; a SyncProducer without a handler panics
	// in the goroutine that called it.
	PanicHandler func(any)
)

type debugLogger struct{}

func (debugLogger) Print(v ...any)                 { Logger.Print(v...) }
func (debugLogger) Printf(format string, v ...any) { Logger.Printf(format, v...) }
func (debugLogger) Println(v ...any)               { Logger.Println(v...) }

// withRecover runs the whole of a goroutine of this package, under PanicHandler if there is one.
func withRecover(f func()) {
	if handler := PanicHandler; handler != nil {
		defer func() {
			if caught := recover(); caught != nil {
				handler(caught)
			}
		}()
	}
	f()
}
