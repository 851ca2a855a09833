package ropewalk

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// A producer with a name that has used up its epochs asks for more: what it was given first is over,
// and what comes next belongs to another holder of the name.
func TestUsedUpEpochsAreNotBegunAgain(t *testing.T) {
	given := identity{id: 7, epoch: epochsOfAHolder}
	last := identity{id: 7, epoch: given.epoch + epochsOfAHolder - 1}
	p := &Producer{identity: &given}
	p.config.name = "billing"
	l := &lane{numbers: numbering{identity: &last, next: 9}}
	p.renumber(l)
	if p.identity != nil || l.numbers.identity != nil {
		t.Errorf("it goes on as %v, and the partition as %v", p.identity, l.numbers.identity)
	}
	// Another partition has asked meanwhile.
	newer := identity{id: 7, epoch: 2 * epochsOfAHolder}
	p.identity, l.numbers.identity = &newer, &last
	p.renumber(l)
	if p.identity != &newer {
		t.Error("what another partition was given is forgotten")
	}
}

// A refusalTest sends records, each a batch of its own, to a broker that refuses the first ones that
// come for these reasons, but for "".
type refusalTest struct {
	retries int
	refused []string
	// happens is called with each that comes, after so many.
	happens func(n int, broker *faultyBroker, r *pb.ProduceRequest)
	// failed says of each record whether it is to fail; log is what is to be there.
	failed []bool
	log    []uint32
}

// What a partition says of a batch's number is taken for what it means.
func TestRefusalsOfNumbers(t *testing.T) {
	for name, test := range map[string]refusalTest{
		// It is there, and a broker that only thinks it leads has not heard of what is before it:
		// under a new number it would be there twice.
		"a gap before what is in doubt": {
			retries: unlimited, refused: []string{"NO_QUORUM", "SEQUENCE_GAP"},
			happens: func(n int, broker *faultyBroker, r *pb.ProduceRequest) {
				if n == 0 {
					broker.append(r)
				}
			},
			failed: []bool{false}, log: []uint32{0},
		},
		// What is surely not there begins anew, and what is in doubt behind it is not there either.
		"a gap before what is not": {
			retries: unlimited, refused: []string{"", "NO_LEADER", "NO_QUORUM"},
			happens: func(n int, broker *faultyBroker, _ *pb.ProduceRequest) {
				if n == 1 {
					broker.parts[0].id = 99 // it is forgotten
				}
			},
			failed: []bool{false, false, false}, log: []uint32{0, 1, 2},
		},
		// What misses one that was given up is not to blame for it.
		"a gap behind what was given up": {
			retries: 0, refused: []string{"NO_LEADER"},
			happens: func(int, *faultyBroker, *pb.ProduceRequest) {},
			failed:  []bool{true, false}, log: []uint32{1},
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test.run) })
	}
}

func (test refusalTest) run(t *testing.T) {
	broker := &faultyBroker{
		t: t, random: rand.New(rand.NewPCG(0, 0)), parts: map[int32]*faultyPartition{},
	}
	came := 0
	conn := &fakeConn{latency: func() time.Duration { return time.Millisecond }}
	conn.take = func(r *pb.ProduceRequest) *pb.ProduceStreamResponse {
		n := came
		came++
		test.happens(n, broker, r)
		if n >= len(test.refused) || test.refused[n] == "" {
			return broker.take(r)
		}
		code := codes.Unavailable
		if test.refused[n] == "SEQUENCE_GAP" {
			code = codes.FailedPrecondition
		}
		return &pb.ProduceStreamResponse{Status: testserver.Status(code, test.refused[n]).Proto()}
	}
	producer, err := newFakeClient(t, conn).NewProducer(WithBatchBytes(1),
		WithPartitioner(ManualPartitioner), WithMaxRetries(test.retries))
	if err != nil {
		t.Fatal(err)
	}
	outcomes := make([]error, len(test.failed))
	for i := range outcomes {
		record := &Record{Topic: "t", Value: binary.BigEndian.AppendUint32(nil, uint32(i))}
		done := func(_ *Record, _ Ack, err error) { outcomes[i] = err }
		if err := producer.SendAsync(t.Context(), record, done); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	for i, err := range outcomes {
		if (err != nil) != test.failed[i] {
			t.Errorf("record %d: %v", i, err)
		}
	}
	if log := broker.parts[0].log; !slices.Equal(log, test.log) {
		t.Errorf("the log has %v, want %v", log, test.log)
	}
}
