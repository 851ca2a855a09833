package examples

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// cleanUp is what is left to do when all tests have run.
var cleanUp = func() {}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		cleanUp()
		os.Exit(status)
	}))
}
