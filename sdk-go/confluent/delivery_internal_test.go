package kafka

import (
	"context"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// A message that is given up while the core takes it is reported, also where the core has not known
// it yet when it was to purge.
func TestPurgeOfWhatIsBeingHanded(t *testing.T) {
	server, err := testserver.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		return &testserver.Fault{Hang: true}
	})
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
	purging := func(*ropewalk.Record, int32) int32 {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.open.first.purged = true // as Purge does, whose own purge of the core is over
		return 0
	}
	core, err := client.NewProducer(append(p.s.producerOptions(),
		ropewalk.WithPartitioner(func(string) ropewalk.Partitioner {
			return ropewalk.PartitionerFunc(purging)
		}))...)
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
		if !ok || toError(m.TopicPartition.Error).(Error).code != ErrPurgeInflight {
			t.Errorf("the report is %v", e)
		}
	case <-time.After(10 * time.Second):
		t.Error("it is not reported")
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
