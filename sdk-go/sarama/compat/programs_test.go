package compat_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
	"github.com/ropewalk/ropewalk/sdk-go/sarama/compat"
)

// patience is how long a program may take, on a machine that does other things too.
const patience = 2 * time.Minute

func allPrograms(t *testing.T) []compat.Program {
	t.Helper()
	programs, err := compat.Programs()
	if err != nil {
		t.Fatal(err)
	}
	return programs
}

// The programs compile against sarama itself, as they stand.
func TestProgramsCompileAgainstSarama(t *testing.T) {
	t.Parallel()
	if err := compat.Vet(); err != nil {
		t.Fatal(err)
	}
}

// After their import line is changed, they compile against the package of this repository, and do
// with a broker of it what their comments say.
func TestProgramsRun(t *testing.T) {
	t.Parallel()
	programs := allPrograms(t)
	if len(programs) < 30 {
		t.Errorf("only %d programs", len(programs))
	}
	executable, err := compat.Build(programs, compat.Ours, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	runAll(t, programs, "ropewalk", executable, ropewalktest.Start(t).Address)
}

// With sarama and Kafka they do the same. It needs a Kafka broker without topics.
func TestProgramsRunWithKafka(t *testing.T) {
	address := os.Getenv("COMPAT_KAFKA")
	if address == "" {
		t.Skip("COMPAT_KAFKA does not name a Kafka broker")
	}
	programs := allPrograms(t)
	executable, err := compat.Build(programs, compat.Theirs, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	runAll(t, programs, "kafka", executable, address)
}

func runAll(t *testing.T, programs []compat.Program, side, executable, address string) {
	t.Run("programs", func(t *testing.T) {
		for _, p := range programs {
			if p.Only == "" || p.Only == side {
				t.Run(p.Name, func(t *testing.T) {
					t.Parallel()
					run(t, p, executable, address)
				})
			}
		}
	})
}

func run(t *testing.T, p compat.Program, executable, address string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, executable, p.Name)
	command.Env = append(os.Environ(), "BROKERS="+address)
	var output, complaints bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaints
	err := command.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil || output.String() != p.Output {
		t.Errorf("it ended with %v\n--- printed\n%s--- want\n%s--- complained\n%s",
			err, output.String(), p.Output, complaints.String())
	}
}
