package ropewalk

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A batchingRun is a producer that was given records by a fake clock, and what became of them.
type batchingRun struct {
	config producerConfig
	// sent are the records in order, flushed the times at which Flush and Close began and ended.
	sent    []sentRecord
	flushed [][2]time.Time
	batches []fakeRequest
}

type sentRecord struct {
	at        time.Time
	partition int32
	size      int
	answers   int
}

// What is sent, and when, is told by the rules of Batching alone, for any settings.
func TestBatchingProperty(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run := runBatching(t, rand.New(rand.NewPCG(seed, 7)))
				run.check(t)
			})
		})
	}
}

// pick returns one of some values.
func pick[T any](random *rand.Rand, values ...T) T { return values[random.IntN(len(values))] }

// another returns a source for another goroutine.
func another(random *rand.Rand) *rand.Rand {
	return rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
}

func runBatching(t *testing.T, random *rand.Rand) *batchingRun {
	// No two things happen at one time, so that there is one right outcome: records are sent 1 ns
	// after a full microsecond, their linger ends 501 ns after one, and answers come where they
	// collide with neither, most likely.
	ofAnswers := another(random)
	conn := &fakeConn{latency: func() time.Duration {
		return time.Duration(ofAnswers.IntN(3_000_000)) + 2
	}}
	client := newFakeClient(t, conn)
	batching := Batching{
		Linger:     pick(random, 0, 0, 500*time.Nanosecond, 1_000_500, 5_000_500),
		Bytes:      pick(random, 0, 0, 1, 600, 5_000),
		Records:    pick(random, 0, 0, 1, 2, 7, 50),
		MaxRecords: pick(random, 0, 0, 1, 3, 20),
	}
	producer, err := client.NewProducer(WithBatching(batching), WithPartitioner(ManualPartitioner),
		WithBatchBytes(pick(random, 200, 1000, 1<<20)), WithMaxInFlight(pick(random, 0, 1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	run := &batchingRun{config: producer.config}
	ended := func(f func()) {
		began := time.Now()
		f()
		run.flushed = append(run.flushed, [2]time.Time{began, time.Now()})
	}
	partitions := 1 + random.Int32N(4)
	run.sent = make([]sentRecord, 200)
	for i := range run.sent {
		pause := time.Duration(random.IntN(pick(random, 1, 50, 2_000))) * time.Microsecond
		next := time.Now().Add(pause).Truncate(time.Microsecond).Add(time.Microsecond + 1)
		time.Sleep(time.Until(next))
		value := binary.BigEndian.AppendUint32(make([]byte, 0, 200), uint32(i))
		record := &Record{
			Topic: "t", Partition: random.Int32N(partitions), Value: value[:4+random.IntN(190)],
		}
		s := &run.sent[i]
		s.at, s.partition, s.size = time.Now(), record.Partition, fieldSize(record.encodedSize())
		err := producer.SendAsync(t.Context(), record, func(_ *Record, _ Ack, err error) {
			s.answers++
			if err != nil {
				t.Errorf("record %d: %v", i, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 || random.IntN(60) == 0 {
			ended(func() { err = producer.Flush(t.Context()) })
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	synctest.Wait()
	time.Sleep(5 * time.Nanosecond) // where no answer is sent
	ended(func() { err = producer.Close() })
	if err != nil {
		t.Fatal(err)
	}
	run.batches = conn.batches()
	return run
}

// released tells of each record from when on it may be sent.
func (run *batchingRun) released() []time.Time {
	b := run.config.batching
	longest := b.Linger
	if longest == 0 {
		longest = run.config.deliveryTimeout / 2
	}
	released := make([]time.Time, len(run.sent))
	from, bytes := 0, 0 // what waits begins at from
	flushes := run.flushed
	release := func(to int, at time.Time) {
		for ; from < to; from++ {
			released[from] = at
		}
		bytes = 0
	}
	for i := range len(run.sent) + 1 {
		for from < i {
			due := run.sent[from].at.Add(longest)
			byFlush := len(flushes) > 0 && flushes[0][0].Before(due)
			if byFlush {
				due = flushes[0][0]
			}
			if i < len(run.sent) && !due.Before(run.sent[i].at) {
				break
			}
			if byFlush {
				flushes = flushes[1:]
			}
			release(i, due)
		}
		if i == len(run.sent) {
			break
		}
		for len(flushes) > 0 && flushes[0][0].Before(run.sent[i].at) {
			flushes = flushes[1:] // it found nothing that waited
		}
		bytes += run.sent[i].size
		if !b.waits() || b.Bytes > 0 && bytes >= b.Bytes || b.Records > 0 && i+1-from >= b.Records {
			release(i+1, run.sent[i].at)
		}
	}
	return released
}

func (run *batchingRun) check(t *testing.T) {
	t.Helper()
	released := run.released()
	queues := map[int32][]int{}
	for i, s := range run.sent {
		queues[s.partition] = append(queues[s.partition], i)
		if s.answers != 1 {
			t.Errorf("record %d has %d answers", i, s.answers)
		}
	}
	before := map[int32][]fakeRequest{}
	for _, batch := range run.batches {
		queue, partition := queues[batch.GetPartition()], batch.GetPartition()
		records := batch.GetRecords().GetRecords()
		due := run.due(queue, released, before[partition])
		if !batch.at.Equal(due) {
			t.Fatalf("%+v: record %d is sent %v late", run.config.batching, queue[0], batch.at.Sub(due))
		}
		run.checkBatch(t, batch.at, records, queue, released)
		before[partition] = append(before[partition], batch)
		queues[partition] = queue[len(records):]
	}
	for partition, queue := range queues {
		if len(queue) > 0 {
			t.Errorf("partition %d: %d records were not sent", partition, len(queue))
		}
	}
}

// due is when the next batch of a partition is sent: when none is under way, or it is full and
// there is room beside the others.
func (run *batchingRun) due(
	queue []int, released []time.Time, before []fakeRequest,
) time.Time {
	later := func(a, b time.Time) time.Time {
		if a.After(b) {
			return a
		}
		return b
	}
	landed := func(behind int) time.Time { // the batch that is so many before this one
		if len(before) < behind {
			return time.Time{}
		}
		return before[len(before)-behind].answered
	}
	due := later(released[queue[0]], landed(1))
	if run.config.flights() == 1 {
		return due
	}
	bytes, most := 0, run.config.batching.MaxRecords
	for i, record := range queue {
		if bytes += run.sent[record].size; bytes >= run.config.batchBytes || i+1 == most {
			full := later(released[record], landed(run.config.flights()))
			if full.Before(due) {
				return later(full, before[len(before)-1].at)
			}
			break
		}
	}
	return due
}

// checkBatch checks that a batch has the records that are next, of which it was time, and that it
// had no room for more.
func (run *batchingRun) checkBatch(
	t *testing.T, at time.Time, records []*pb.Record, queue []int, released []time.Time,
) {
	t.Helper()
	bytes, most := 0, run.config.batching.MaxRecords
	for i, record := range records {
		bytes += run.sent[queue[i]].size
		if got := int(binary.BigEndian.Uint32(record.GetValue())); got != queue[i] {
			t.Fatalf("record %d where %d is due", got, queue[i])
		}
		if released[queue[i]].After(at) {
			t.Fatalf("%+v: record %d is sent %v early",
				run.config.batching, queue[i], released[queue[i]].Sub(at))
		}
	}
	if len(records) > 1 && bytes > run.config.batchBytes || most > 0 && len(records) > most {
		t.Fatalf("a batch has %d records and %d bytes", len(records), bytes)
	}
	if len(queue) == len(records) || len(records) == most {
		return
	}
	next := queue[len(records)]
	if !released[next].After(at) && bytes+run.sent[next].size <= run.config.batchBytes {
		t.Fatalf("%+v: record %d was left behind", run.config.batching, next)
	}
}

// sendAtOnce hands over records of about 100 bytes, and fails a test where that waits for more than
// their answers.
func sendAtOnce(t *testing.T, producer *Producer, count int) {
	t.Helper()
	began := time.Now()
	for range count {
		record := &Record{Topic: "t", Value: make([]byte, 100)}
		if err := producer.SendAsync(t.Context(), record, nil); err != nil {
			t.Fatal(err)
		}
	}
	if waited := time.Since(began); waited > time.Second {
		t.Errorf("handing over waited for %v", waited)
	}
}

func newFakeProducer(t *testing.T, options ...ProducerOption) (*Producer, *fakeConn) {
	t.Helper()
	conn := &fakeConn{latency: func() time.Duration { return 0 }}
	producer, err := newFakeClient(t, conn).NewProducer(options...)
	if err != nil {
		t.Fatal(err)
	}
	return producer, conn
}

// Records that wait for more than there is memory for are sent when it is used up.
func TestBatchingDoesNotWaitForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		producer, conn := newFakeProducer(t, WithBufferBytes(2_000), WithBatching(Batching{Records: 100}))
		sendAtOnce(t, producer, 50)
		synctest.Wait()
		if len(conn.batches()) == 0 {
			t.Error("nothing was sent")
		}
		if err := producer.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What waits for more that does not come goes in time, and not before.
func TestBatchingWaitsForMoreButNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		producer, conn := newFakeProducer(t, WithBatching(Batching{Bytes: 5_000}))
		sendAtOnce(t, producer, 3)
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if len(conn.batches()) != 0 {
			t.Error("it was sent early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(conn.batches()) != 1 || len(conn.batches()[0].GetRecords().GetRecords()) != 3 {
			t.Errorf("after half of the delivery timeout there are %d batches", len(conn.batches()))
		}
	})
}

// While somebody flushes nothing waits; a flush that is given up leaves batching as it was. A
// sender that gives up takes back its record that waits.
func TestBatchingAndFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		producer, conn := newFakeProducer(t, WithPartitioner(ManualPartitioner),
			WithBatching(Batching{Linger: time.Second}))
		conn.latency = func() time.Duration { return time.Minute }
		send := func(partition int32) (waited func() time.Duration) {
			began, batches := time.Now(), len(conn.batches())
			record := &Record{Topic: "t", Partition: partition}
			if err := producer.SendAsync(t.Context(), record, nil); err != nil {
				t.Fatal(err)
			}
			return func() time.Duration {
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if len(conn.batches()) != batches+1 {
					t.Fatalf("%d batches after %d", len(conn.batches()), batches)
				}
				return conn.batches()[batches].at.Sub(began)
			}
		}
		first := send(0)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		ended := make(chan error)
		go func() { ended <- producer.Flush(ctx) }()
		synctest.Wait()
		if waited := first(); waited != 0 {
			t.Errorf("a record waited for %v beside a flush", waited)
		}
		if waited := send(1)(); waited != 0 {
			t.Errorf("a record waited for %v while a flush ran", waited)
		}
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the flush ended with %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := producer.Send(ctx, &Record{Topic: "t", Partition: 2})
		if e := (*Error)(nil); !errors.As(err, &e) || e.Appended() != OutcomeNo {
			t.Errorf("the sender that gave up got %v", err)
		}
		time.Sleep(2 * time.Second)
		if waited := send(3)(); waited != time.Second {
			t.Errorf("a record waited for %v after the flush", waited)
		}
	})
}

func TestBatchingIsChecked(t *testing.T) {
	client := newFakeClient(t, &fakeConn{})
	for name, options := range map[string][]ProducerOption{
		"a negative linger": {WithBatching(Batching{Linger: -1})},
		"negative bytes":    {WithBatching(Batching{Bytes: -1})},
		"negative records":  {WithBatching(Batching{Records: -1})},
		"a negative bound":  {WithBatching(Batching{MaxRecords: -1})},
		"more than fits":    {WithBatching(Batching{Bytes: 101}), WithBufferBytes(100)},
		"a wait for too long": {WithBatching(Batching{Linger: time.Minute}),
			WithDeliveryTimeout(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := client.NewProducer(options...); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

// A flush waits for what was handed over before it, however busy others are.
func TestFlushDoesNotWaitForWhatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		producer, conn := newFakeProducer(t, WithBatching(Batching{Linger: time.Second}))
		conn.latency = func() time.Duration { return 10 * time.Millisecond }
		stop, stopped := make(chan struct{}), make(chan struct{})
		var sent, answered atomic.Int32
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					sent.Add(1)
					done := func(*Record, Ack, error) { answered.Add(1) }
					if err := producer.SendAsync(t.Context(), &Record{Topic: "t"}, done); err != nil {
						t.Error(err)
					}
				}
			}
		}()
		for range 3 {
			time.Sleep(100*time.Millisecond + 500*time.Microsecond)
			began, before := time.Now(), sent.Load()
			if err := producer.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); answered.Load() < before || took > 25*time.Millisecond {
				t.Errorf("%d of %d were answered after %v", answered.Load(), before, took)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := producer.Flush(ctx); !errors.Is(err, ReasonCanceled) {
			t.Errorf("a flush that is given up: %v", err)
		}
		close(stop)
		<-stopped
	})
}
