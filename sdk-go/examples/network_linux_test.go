package examples

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// inNetwork is set in the environment of a test that has a network of its own.
const inNetwork = "EXAMPLES_IN_OWN_NETWORK"

// inOwnNetwork runs the test again, by itself, in a new network namespace: the port that the programs
// name is then free, whatever else runs on the machine. It reports false where that cannot be had, or
// when it is there already, and the test is to go on.
func inOwnNetwork(t *testing.T) bool {
	if os.Getenv(inNetwork) != "" {
		return false
	}
	ropewalktest.Binary(t)
	inside := func(name string, args ...string) *exec.Cmd {
		command := exec.Command(name, args...)
		command.Env = append(os.Environ(), inNetwork+"=1")
		command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if os.Getuid() != 0 {
			command.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		}
		return command
	}
	if inside("ip", "link", "set", "lo", "up").Run() != nil {
		return false
	}
	output, err := inside("sh", "-c", `ip link set lo up && exec "$0" "$@"`,
		os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	return true
}
