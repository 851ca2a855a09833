package ropewalk_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A proxy of the environment is not used. The environment is read once in a process, and no proxy
// is used to this machine: so it is another process, and an address at which nobody is.
func TestProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	if os.Getenv("ROPEWALK_TEST_DIALS") != "" {
		_, err := ropewalk.Dial(t.Context(), []string{"broker.invalid:7400"},
			ropewalk.WithDialTimeout(2*time.Second))
		if !errors.Is(err, ropewalk.ReasonUnreachable) {
			t.Error(err)
		}
		return
	}
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 100)
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			conn, err := proxy.Accept()
			if err != nil {
				return
			}
			conn.Close()
			asked <- struct{}{}
		}
	}()
	dials := exec.CommandContext(testContext(t), os.Args[0], "-test.run=^"+t.Name()+"$")
	dials.Env = append(os.Environ(), "ROPEWALK_TEST_DIALS=1", "NO_PROXY=", "no_proxy=",
		"HTTPS_PROXY=http://"+proxy.Addr().String())
	output, err := dials.CombinedOutput()
	proxy.Close()
	<-accepted
	if err != nil {
		t.Errorf("%v: %s", err, output)
	}
	if len(asked) > 0 {
		t.Errorf("the proxy was asked %d times", len(asked))
	}
}
