package kafka

import (
	"context"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// handOver has a message handed to the core, and a function called when that is about to take it,
// with the one that takes it. It returns what the report says.
func handOver(t *testing.T, taking func(p *Producer, take func() int32) int32) ErrorCode {
	t.Helper()
	server, err := testserver.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	p, err := NewProducer(&ConfigMap{"bootstrap.servers": server.Address(), "log_level": 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	<-p.started
	client, err := p.handle.core(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	partitioner := func(topic string) ropewalk.Partitioner {
		ours := p.partitioner(topic)
		return ropewalk.PartitionerFunc(func(r *ropewalk.Record, partitions int32) int32 {
			return taking(p, func() int32 { return ours.Partition(r, partitions) })
		})
	}
	core, err := client.NewProducer(append(p.s.producerOptions(),
		ropewalk.WithPartitioner(partitioner))...)
	if err != nil {
		t.Fatal(err)
	}
	if p.core, core = core, p.core; core.Close() != nil {
		t.Fatal("the first producer did not close")
	}
	topic := "t"
	if err := p.Produce(&Message{TopicPartition: TopicPartition{Topic: &topic,
		Partition: PartitionAny}}, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-p.Events():
		m, ok := e.(*Message)
		if !ok {
			t.Fatalf("the report is %v", e)
		}
		if m.TopicPartition.Error == nil {
			return ErrNoError
		}
		return toError(m.TopicPartition.Error).(Error).code
	case <-time.After(10 * time.Second):
		t.Fatal("it is not reported")
	}
	return ErrNoError
}

// A message that is given up while the core takes it is reported, also where the core has not known
// it yet when it was to purge.
func TestPurgeOfWhatIsBeingHanded(t *testing.T) {
	code := handOver(t, func(p *Producer, take func() int32) int32 {
		p.mu.Lock()
		p.open.first.purged = true // as Purge does, whose own purge of the core is over
		p.mu.Unlock()
		return take()
	})
	if code != ErrPurgeInflight {
		t.Errorf("the report says %v", code)
	}
}

// What the core has is in flight, and what it is only asked to take is not.
func TestPurgeInFlightOfWhatIsBeingHanded(t *testing.T) {
	purge := func(p *Producer) {
		if err := p.Purge(PurgeInFlight); err != nil {
			t.Error(err)
		}
	}
	code := handOver(t, func(p *Producer, take func() int32) int32 {
		purge(p)
		return take()
	})
	if code != ErrNoError {
		t.Errorf("before the core has it, the report says %v", code)
	}
	code = handOver(t, func(p *Producer, take func() int32) int32 {
		defer purge(p)
		return take()
	})
	if code != ErrPurgeInflight {
		t.Errorf("when the core has it, the report says %v", code)
	}
}

// What is held back is bounded with all that a record has, headers too.
func TestHeldHeadersCount(t *testing.T) {
	p := newPart(ropewalk.TopicPartition{Topic: "t"})
	p.paused, p.holds = true, true
	r := &ropewalk.Record{Headers: []ropewalk.Header{{Key: "h", Value: make([]byte, mostHeldBytes)}}}
	if !p.hold(r) || len(p.held) != 0 || p.holds {
		t.Errorf("%d records are held, of %d bytes", len(p.held), p.heldBytes)
	}
}
