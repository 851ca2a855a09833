package ropewalk_test

import (
	"os/exec"
	"testing"
)

// TestStubsAreCurrent generates the stubs anew, with the pinned tools, and compares. The tools are
// installed on its first run.
func TestStubsAreCurrent(t *testing.T) {
	if testing.Short() {
		t.Skip("generates with external tools")
	}
	if output, err := exec.Command("./generate.sh", "--check").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}
