// Command bench loads a broker that runs already, in one of several ways, and prints one line of
// JSON: what was produced or consumed a second, and how long an answer took.
// tests/bench/peers/peers.py --go runs it beside other clients and brokers.
//
//	bench -broker HOST:PORT -topic NAME -mode core
//
// Nothing is counted that was not acked, or not delivered; anything that fails ends it with an
// error.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A run is what the flags say.
type run struct {
	broker     string
	topic      string
	partitions int
	size       int
	gate       *gate
	answers    latencies
}

// A mode loads the broker, and returns how many records counted in how long.
type mode struct {
	about string
	load  func(ctx context.Context, r *run) (records int64, took time.Duration, err error)
}

// callers are the goroutines that share a producer where each waits for its answers.
const callers = 100

// modes are all that can be measured.
var modes = map[string]mode{
	"core":   {"SendAsync from one goroutine", produceAsync},
	"sync":   {"Send from 100 goroutines, each waited for", produceSync(callers)},
	"spread": {"the same, each record on a random partition", produceSync(callers, atRandom)},
	"single": {"Send from one goroutine, each waited for", produceSync(1)},
	"poll":   {"a Consumer from the start, by Poll", consumePoll},
	"next":   {"a Consumer from the start, by Next", consumeNext},
	"group":  {"the only member of a group from the start, by Poll", consumeGroup},
}

func main() {
	if err := measure(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure() error {
	r := &run{}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(modes)) {
		names = append(names, name+" ("+modes[name].about+")")
	}
	name := flag.String("mode", "core", strings.Join(names, ", "))
	flag.StringVar(&r.broker, "broker", "127.0.0.1:9092", "the broker, as HOST:PORT")
	flag.StringVar(&r.topic, "topic", "bench", "the topic; it is made if it is not there")
	flag.IntVar(&r.partitions, "partitions", 16, "of a topic that is made")
	flag.IntVar(&r.size, "size", 1024, "the bytes of a record's value")
	seconds := flag.Duration("for", 4*time.Second, "the time that counts, after a warm-up")
	most := flag.Int64("max-mib", 2048, "the MiB that are produced at most; then it ends early")
	profile := flag.String("cpuprofile", "", "a file for a profile of this process")
	list := flag.Bool("list", false, "print the names of the modes, and end")
	flag.Parse()
	if *list {
		for _, name := range slices.Sorted(maps.Keys(modes)) {
			fmt.Println(name)
		}
		return nil
	}
	m, ok := modes[*name]
	if !ok || flag.NArg() > 0 {
		return fmt.Errorf("there is no mode %q; there are %s", *name, strings.Join(names, ", "))
	}
	ctx := context.Background()
	if err := r.makeTopic(ctx); err != nil {
		return err
	}
	if *profile != "" {
		file, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	r.gate = newGate(*seconds/4, *seconds, *most<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	busy, began := cpuSeconds(), time.Now()
	records, took, err := m.load(ctx, r)
	if err != nil {
		return err
	}
	busy, whole := cpuSeconds()-busy, time.Since(began)
	runtime.ReadMemStats(&after)
	all := records // of those that are produced, also what did not count
	if taken := r.gate.taken.Load(); taken > 0 {
		all = taken
	}
	row := map[string]any{
		"mode": *name, "records": records, "seconds": took.Seconds(),
		"MB/s":                 float64(records) * float64(r.size) / 1e6 / took.Seconds(),
		"client cores":         busy / whole.Seconds(),
		"allocations a record": float64(after.Mallocs-before.Mallocs) / float64(all),
	}
	r.answers.report(row)
	return json.NewEncoder(os.Stdout).Encode(row)
}

// makeTopic makes the topic, if it is not there.
func (r *run) makeTopic(ctx context.Context) error {
	client, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Admin().CreateTopic(ctx, r.topic, int32(r.partitions))
	if err != nil && !isReason(err, ropewalk.ReasonTopicExists) {
		return err
	}
	return nil
}

func (r *run) dial(ctx context.Context) (*ropewalk.Client, error) {
	return ropewalk.Dial(ctx, []string{r.broker})
}

// cpuSeconds is what this process has used of the processor.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	of := func(t syscall.Timeval) float64 { return time.Duration(t.Nano()).Seconds() }
	return of(usage.Utime) + of(usage.Stime)
}
