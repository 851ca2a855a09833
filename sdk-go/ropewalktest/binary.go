package ropewalktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// Binary returns the broker's binary: $ROPEWALK_BIN, else that of the repository that this package stands
// in, which cargo builds if need be, else `ropewalk` on the PATH. The test fails without one.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatalf("ropewalktest: there is no broker to start: %v\n"+
			"Put `ropewalk` on the PATH, or name it in ROPEWALK_BIN.", err)
	}
	return path
}

var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("ROPEWALK_BIN"); path != "" {
		info, err := os.Stat(path)
		if err == nil && info.IsDir() {
			err = fmt.Errorf("%s is a directory", path)
		}
		return path, err
	}
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..")
	if _, err := os.Stat(filepath.Join(root, "server", "main", "Cargo.toml")); err == nil {
		return build(root)
	}
	return exec.LookPath("ropewalk") // this is the module alone
})

// build has cargo build the broker, which says nothing and takes no time where nothing has changed.
func build(root string) (string, error) {
	command := exec.Command("cargo", "build", "--quiet", "--bin", "ropewalk")
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cargo build: %w\n%s", err, output)
	}
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		target = filepath.Join(root, "target")
	}
	path := filepath.Join(target, "debug", "ropewalk")
	_, err := os.Stat(path)
	return path, err
}
