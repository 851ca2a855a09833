package ropewalk_test

import (
	"fmt"
	"log"
	"sync"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// dashboard counts what a client does, as a program would for its metrics. It is told of all that
// there is; a hook usually has only the methods of what it wants to know.
type dashboard struct {
	mu     sync.Mutex
	counts map[string]int
}

// That it has the method which an event asks for: one with another signature would not be called.
var (
	_ ropewalk.HookBrokerConnected    = (*dashboard)(nil)
	_ ropewalk.HookBrokerDisconnected = (*dashboard)(nil)
	_ ropewalk.HookBrokerUnreachable  = (*dashboard)(nil)
	_ ropewalk.HookRequestDone        = (*dashboard)(nil)
	_ ropewalk.HookStreamBroken       = (*dashboard)(nil)
	_ ropewalk.HookBatchSent          = (*dashboard)(nil)
	_ ropewalk.HookBatchRetried       = (*dashboard)(nil)
	_ ropewalk.HookBatchAnswered      = (*dashboard)(nil)
	_ ropewalk.HookBatchReceived      = (*dashboard)(nil)
	_ ropewalk.HookRecordsDelivered   = (*dashboard)(nil)
	_ ropewalk.HookGapFound           = (*dashboard)(nil)
	_ ropewalk.HookGroupAssigned      = (*dashboard)(nil)
	_ ropewalk.HookGroupRevoked       = (*dashboard)(nil)
	_ ropewalk.HookGroupLost          = (*dashboard)(nil)
	_ ropewalk.HookCommitDone         = (*dashboard)(nil)
)

// add is called from many goroutines.
func (d *dashboard) add(name string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[name] += n
}

func (d *dashboard) count(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[name]
}

func (d *dashboard) OnBrokerConnected(ropewalk.BrokerConnected)       { d.add("connections", 1) }
func (d *dashboard) OnBrokerDisconnected(ropewalk.BrokerDisconnected) { d.add("connections", -1) }

func (d *dashboard) OnBrokerUnreachable(e ropewalk.BrokerUnreachable) {
	log.Printf("broker %d is not at %s: %v", e.Broker, e.Address, e.Err)
}

func (d *dashboard) OnRequestDone(e ropewalk.RequestDone) {
	if e.Err != nil && !e.Stream {
		d.add("calls that failed", 1)
	}
}

func (d *dashboard) OnStreamBroken(e ropewalk.StreamBroken) {
	if e.Kind == ropewalk.ProduceStream {
		d.add("batches without an answer", e.Unanswered)
	}
}

// What producers do is told by the batch.

func (d *dashboard) OnBatchSent(e ropewalk.BatchSent)       { d.add("bytes out", e.WireBytes) }
func (d *dashboard) OnBatchRetried(e ropewalk.BatchRetried) { d.add("retries", 1) }

func (d *dashboard) OnBatchAnswered(e ropewalk.BatchAnswered) {
	if e.Err != nil {
		d.add("records lost", e.Records)
		return
	}
	d.add("records sent", e.Records)
}

// So is what consumers do, and each record as it is handed out.

func (d *dashboard) OnBatchReceived(e ropewalk.BatchReceived) { d.add("bytes in", e.WireBytes) }

func (d *dashboard) OnRecordsDelivered(e ropewalk.RecordsDelivered) {
	d.add("records read", e.Records)
}

func (d *dashboard) OnGapFound(e ropewalk.GapFound) { d.add("records missed", int(e.To-e.From)) }

func (d *dashboard) OnGroupAssigned(e ropewalk.GroupChange) {
	d.add("partitions", len(e.Positions))
}

func (d *dashboard) OnGroupRevoked(e ropewalk.GroupChange) {
	d.add("partitions", -len(e.Positions))
}

func (d *dashboard) OnGroupLost(e ropewalk.GroupChange) {
	d.add("partitions", -len(e.Positions))
}

func (d *dashboard) OnCommitDone(e ropewalk.CommitDone) {
	if e.Err == nil {
		d.add("offsets committed", len(e.Offsets))
	}
}

// A hook for the metrics of a program.
func ExampleWithHooks() {
	metrics := &dashboard{counts: map[string]int{}}
	ctx, client, stop := exampleClient(ropewalk.WithHooks(metrics))
	fill(ctx, client, "events", "a", "b", "c")
	consumer, err := client.NewConsumer(ctx,
		ropewalk.WithTopics("events"), ropewalk.WithStop(ropewalk.StopCaughtUp()))
	if err != nil {
		log.Fatal(err)
	}
	for _, err := range consumer.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := consumer.Commit(ctx, "billing"); err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{
		"records sent", "records read", "records missed", "offsets committed", "retries",
	} {
		fmt.Printf("%s: %d\n", name, metrics.count(name))
	}
	stop()
	// Output:
	// records sent: 3
	// records read: 3
	// records missed: 0
	// offsets committed: 1
	// retries: 0
}
