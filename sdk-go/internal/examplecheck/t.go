package examplecheck

import (
	"log"
	"os"
	"slices"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// Broker runs a real broker for an Example, which has no *testing.T: for what the server in memory
// does not do, as groups.
func Broker(options ...ropewalktest.Option) (address string, stop func()) {
	t := NewT()
	return ropewalktest.Start(t, options...).Address, t.End
}

// T is to an Example what a *testing.T is to a test, as far as starting a broker goes.
type T struct {
	testing.TB // what is not here is not called
	cleanups   []func()
}

// NewT returns one, to be ended by End.
func NewT() *T { return new(T) }

// End runs what was given to Cleanup, the last first.
func (t *T) End() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
	t.cleanups = nil
}

// Cleanup has a function called by End.
func (t *T) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// Helper does nothing.
func (t *T) Helper() {}

// TempDir is a directory until End.
func (t *T) TempDir() string {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Fatal ends the tests, as an Example cannot go on.
func (t *T) Fatal(args ...any) {
	t.End()
	log.Fatal(args...)
}

// Fatalf is Fatal with a format.
func (t *T) Fatalf(format string, args ...any) {
	t.End()
	log.Fatalf(format, args...)
}
