package kafka_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/brokertest"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// accept takes the stream of a member, which the test writes from then on.
func accept(t testing.TB, server *testserver.Server) *testserver.Member {
	t.Helper()
	stream := server.Join(testContext(t))
	if stream == nil {
		t.Fatal("no member has come")
	}
	stream.Send(&pb.Started{MemberId: "m", Generation: 1})
	return stream
}

// Partitions that were taken are told of as lost, and nothing of them is committed.
func TestAssignmentLost(t *testing.T) {
	server := newServer(t)
	produce(t, server.Address(), "t", "v") // or it would be told that there is no such topic
	var told seen
	lost := ""
	c := newConsumer(t, server.Address(), "g", "partition.assignment.strategy", "cooperative-sticky",
		"auto.commit.interval.ms", 0)
	if err := c.Subscribe("t", func(c *kafka.Consumer, e kafka.Event) error {
		told.note(e)
		if c.AssignmentLost() {
			lost += e.String()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	stream := accept(t, server)
	stream.Send(&pb.Assignment{Generation: 2, Assigned: []*pb.PartitionPosition{
		{Topic: "t", Partition: 0}, {Topic: "t", Partition: 1}}})
	records := &pb.RecordSet{Records: []*pb.Record{{Value: []byte("x")}}}
	stream.Send(&pb.RecordBatch{Topic: "t", Partition: 1, RecordCount: 1,
		Compression: pb.Compression_COMPRESSION_NONE,
		Data:        &pb.RecordBatch_Records{Records: records}})
	pollUntil[*kafka.Message](t, c, nil)
	stream.Send(&pb.Assignment{Generation: 3,
		Ended: []*pb.TopicPartitions{{Topic: "t", Partitions: []int32{1}}}})
	until(t, "the loss", func() bool { c.Poll(10); return has(t, c, 1)() })
	if told.String() != "+0,1 -1" || !strings.Contains(lost, "Revoked") {
		t.Errorf("it was told %s; lost are %q", &told, lost)
	}
	if commits := server.MemberCommits(); len(commits) != 0 {
		t.Errorf("%v were committed", commits)
	}
	topic := "t"
	_, err := c.CommitOffsets([]kafka.TopicPartition{{Topic: &topic, Partition: 1, Offset: 1}})
	hasCode(t, err, kafka.ErrIllegalGeneration)
}

// A commit of a partition that is another member's by now fails, and says so.
func TestCommitIsFenced(t *testing.T) {
	server := newServer(t)
	c := newConsumer(t, server.Address(), "g", "enable.auto.commit", false)
	if err := c.Subscribe("t", nil); err != nil {
		t.Fatal(err)
	}
	accept(t, server).Send(&pb.Assignment{Generation: 2,
		Assigned: []*pb.PartitionPosition{{Topic: "t"}}})
	until(t, "the assignment", func() bool { c.Poll(10); return has(t, c, 1)() })
	server.Fence(0)
	topic := "t"
	_, err := c.CommitOffsets([]kafka.TopicPartition{{Topic: &topic, Offset: 3}})
	hasCode(t, err, kafka.ErrIllegalGeneration)
}

// A static member is known again: nothing moves while it restarts.
func TestStaticMember(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("static")
	createTopic(t, address, topic, 2)
	var other seen
	a := newConsumer(t, address, "g", "group.instance.id", "a", "session.timeout.ms", 60_000)
	b := newConsumer(t, address, "g", "partition.assignment.strategy", "cooperative-sticky")
	if err := a.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Subscribe(topic, func(_ *kafka.Consumer, e kafka.Event) error {
		other.note(e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	both(t, a, b, func() bool { return has(t, a, 1)() && has(t, b, 1)() })
	before := len(other.events)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = newConsumer(t, address, "g", "group.instance.id", "a", "session.timeout.ms", 60_000)
	if err := a.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	both(t, a, b, func() bool { return has(t, a, 1)() && has(t, b, 1)() })
	// Had the other got the partition meanwhile, it would have given it back before a had it. Each
	// reads its own, so that nothing is on its way any more.
	one := message(topic, "1")
	one.TopicPartition.Partition = 1
	produceAll(t, address, message(topic, "0"), one)
	ofA, ofB := 0, 0
	until(t, "both to read", func() bool {
		if _, ok := a.Poll(10).(*kafka.Message); ok {
			ofA++
		}
		if _, ok := b.Poll(10).(*kafka.Message); ok {
			ofB++
		}
		return ofA > 0 && ofB > 0
	})
	if len(other.events) != before || ofA+ofB != 2 {
		t.Errorf("the other was told %s; %d and %d were read", &other, ofA, ofB)
	}
}

// A consumer goes on where it was when the broker comes back.
func TestBrokerRestarts(t *testing.T) {
	broker, topic := ropewalktest.Start(t), newName("restart")
	produce(t, broker.Address, topic, "a", "b")
	c := newConsumer(t, broker.Address, "g")
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "a", "b")
	broker.Kill()
	broker.Run()
	produce(t, broker.Address, topic, "c")
	expect(t, c, "c")
}

func TestTLS(t *testing.T) {
	server, authority := newServer(t), brokertest.NewAuthority(t)
	proxy := brokertest.NewTLSForward(t, server.Address(), authority.Server("broker.example"))
	server.Advertise(1, proxy.Address)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		settings []any
		works    bool
	}{
		"another name": {[]any{"ssl.ca.pem", string(authority.PEM())}, false},
		"any name": {[]any{"ssl.ca.location", file,
			"ssl.endpoint.identification.algorithm", "none"}, true},
		"a folder": {[]any{"ssl.ca.location", filepath.Dir(file),
			"ssl.endpoint.identification.algorithm", "none"}, true},
		"any name, another authority": {[]any{
			"ssl.ca.pem", string(brokertest.NewAuthority(t).PEM()),
			"ssl.endpoint.identification.algorithm", "none"}, false},
		"no check": {[]any{"enable.ssl.certificate.verification", false}, true},
	} {
		t.Run(name, func(t *testing.T) {
			settings := append(test.settings, "security.protocol", "SSL", "broker.address.family", "v4",
				"socket.keepalive.enable", true, "socket.send.buffer.bytes", 65536)
			p := newProducer(t, proxy.Address, settings...)
			if err := p.Produce(message("t", "v"), nil); err != nil {
				t.Fatal(err)
			}
			switch e := nextEvent(t, p.Events()).(type) {
			case *kafka.Message:
				if !test.works || e.TopicPartition.Error != nil {
					t.Errorf("it was reported as %v", e)
				}
			case kafka.Error:
				if hasCode(t, e, kafka.ErrTransport); test.works {
					t.Error(e)
				}
			}
		})
	}
}

// Of two consumers with one group.instance.id the newer has it. The older ends with a fatal error,
// and disturbs the newer no more.
func TestInstanceIsTaken(t *testing.T) {
	address, topic := ropewalktest.Start(t).Address, newName("instance")
	createTopic(t, address, topic, 2)
	var told, toldToo seen
	lost := false
	older := newConsumer(t, address, "g", "group.instance.id", "a",
		"partition.assignment.strategy", "cooperative-sticky")
	if err := older.Subscribe(topic, func(c *kafka.Consumer, e kafka.Event) error {
		told.note(e)
		lost = lost || c.AssignmentLost()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	until(t, "the assignment", func() bool { older.Poll(10); return has(t, older, 2)() })
	newer := newConsumer(t, address, "g", "group.instance.id", "a",
		"partition.assignment.strategy", "cooperative-sticky")
	subscribe := func(c *kafka.Consumer) error {
		return c.Subscribe(topic, func(_ *kafka.Consumer, e kafka.Event) error {
			toldToo.note(e)
			return nil
		})
	}
	if err := subscribe(newer); err != nil {
		t.Fatal(err)
	}
	fatal := pollUntil[kafka.Error](t, older, nil)
	if hasCode(t, fatal, kafka.ErrFencedInstanceID); !fatal.IsFatal() || fatal.IsRetriable() {
		t.Errorf("it is not fatal: %v", fatal)
	}
	if !lost || told.String() != "+0,1 -0,1" {
		t.Errorf("it was told %s, as lost: %v", &told, lost)
	}
	until(t, "the other's assignment", func() bool { newer.Poll(10); return has(t, newer, 2)() })
	for range 20 {
		if e := older.Poll(50); e != nil {
			t.Errorf("afterwards came %v", e)
		}
		if e := newer.Poll(10); e != nil {
			t.Errorf("to the newer one came %v", e)
		}
	}
	if toldToo.String() != "+0,1" {
		t.Errorf("the newer one was told %s", &toldToo)
	}
	err := subscribe(older)
	if hasCode(t, err, kafka.ErrFencedInstanceID); err == nil || !err.(kafka.Error).IsFatal() {
		t.Errorf("subscribing again: %v", err)
	}
}
