package ropewalk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/brokertest"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

const (
	// promptly is what the first record through a port-forward may take on a busy machine. A wait for
	// an address that does not answer would take longer.
	promptly = 3 * time.Second
	// again is what the first record may take once a forward is back: its address is tried again when
	// those that do not answer have been waited for, for three seconds.
	again = 7 * time.Second
)

// A client that can reach one broker of three, at an address that none of them knows of: those that
// they tell answer nothing at all. Everything works, without a wait for them, and again once the
// forward was away.
func TestOneAddressIsEnoughBehindAPortForward(t *testing.T) {
	holes := []string{brokertest.BlackHole(t), brokertest.BlackHole(t), brokertest.BlackHole(t)}
	brokers := ropewalktest.StartCluster(t, ropewalktest.WithAdvertised(holes...))
	forward := brokertest.NewForward(t, brokers[1].Address)
	ctx := testContext(t)
	client := dial(t, forward.Address)
	admin := client.Admin()
	const partitions = 6 // each broker leads some
	if _, err := admin.CreateTopic(ctx, "t", partitions); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	sendToAll := func(client *ropewalk.Client, value string) {
		t.Helper()
		producer := newProducer(t, client, ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
		for partition := range int32(partitions) {
			record := &ropewalk.Record{Topic: "t", Partition: partition, Value: []byte(value)}
			if _, err := producer.Send(ctx, record); err != nil {
				t.Fatal(err)
			}
		}
	}
	readFromAll := func(consumer *ropewalk.Consumer, value string) {
		t.Helper()
		for range partitions {
			expect(t, consumer, value)
		}
	}
	sendToAll(client, "first")
	took(t, "the first record of each partition", began, promptly)

	began = time.Now()
	fresh := dial(t, forward.Address)
	consumer := newConsumer(t, fresh, ropewalk.WithTopics("t"))
	readFromAll(consumer, "first")
	took(t, "reading them with a new client", began, promptly)

	began = time.Now()
	sendToAll(fresh, "second")
	if err := consumer.Commit(ctx, "g"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ListOffsets(ctx, ropewalk.QueryLatest("t", ropewalk.AllPartitions)); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteRecords(ctx, "t", map[int32]int64{0: 1, 1: 1, 2: 1}); err != nil {
		t.Fatal(err)
	}
	readFromAll(consumer, "second")
	took(t, "all of it with clients that know the brokers", began, promptly)

	forward.Cut()
	if _, err := admin.GetCluster(shortly(t)); err == nil {
		t.Fatal("a broker was reached although the forward is cut")
	}
	forward.Open()
	began = time.Now()
	sendToAll(client, "third")
	readFromAll(consumer, "third")
	took(t, "writing and reading once the forward was back", began, again)
}

func took(t *testing.T, what string, began time.Time, limit time.Duration) {
	t.Helper()
	took := time.Since(began)
	t.Logf("%s took %v", what, took)
	if took > limit {
		t.Errorf("%s took %v", what, took)
	}
}

func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(testContext(t), time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A consumer whose stream is at the broker that leads its partition goes on when that one is killed:
// no error, nothing left out, nothing twice. The client was told of the one that dies, or of another.
func TestLeaderIsKilledUnderAConsumer(t *testing.T) {
	for name, told := range map[string]int{"told of another": 1, "told of it": 0} {
		t.Run(name, func(t *testing.T) {
			brokers := ropewalktest.StartCluster(t)
			leader := createLed(t, brokers)
			var broken atomic.Int32
			consumer := newConsumer(t, dial(t, brokers[(leader+told)%3].Address), ropewalk.WithTopics("t"),
				ropewalk.WithErrorHandler(func(error) { broken.Add(1) }))
			producer := newProducer(t, dial(t, brokers[(leader+2)%3].Address), ropewalk.WithRetryMaybe())
			next := int64(0)
			var read []string
			pass := func() { // one record, from end to end; a repeat of one that was in doubt may come before it
				t.Helper()
				value := strconv.FormatInt(int64(len(read)), 10)
				ack, err := producer.Send(testContext(t), &ropewalk.Record{Topic: "t", Value: []byte(value)})
				if err != nil {
					t.Fatal(err)
				}
				for next <= ack.Offset {
					record, err := consumer.Next(testContext(t))
					if err != nil {
						t.Fatal(err)
					}
					if record.Offset != next {
						t.Fatalf("offset %d comes where %d is due", record.Offset, next)
					}
					read = append(read, string(record.Value))
					next++
				}
				if read[len(read)-1] != value {
					t.Fatalf("%s comes where %s is due", read[len(read)-1], value)
				}
			}
			admin := dial(t, brokers[0].Address).Admin()
			pass()
			for began := time.Now(); brokertest.Subscriptions(t, brokers[leader]) == 0; leader = ledBy(t, admin) {
				if pass(); time.Since(began) > 10*time.Second {
					t.Fatalf("the consumer does not go to broker %d, which leads", leader+1)
				}
			}
			brokers[leader].Kill()
			began := time.Now()
			pass()
			t.Logf("the first record after the kill took %v", time.Since(began))
			for range 200 {
				pass()
			}
			if broken.Load() == 0 {
				t.Error("the stream did not break: this tested nothing")
			}
		})
	}
}

// createLed creates the topic t with one partition, and gives the number of the broker that leads it,
// from 0.
func createLed(t *testing.T, brokers []*ropewalktest.Broker) int {
	t.Helper()
	// In a cluster that was just formed each broker says where it is in its own time: a client that asks
	// before, and whose only broker is then killed, has nowhere to go.
	for _, broker := range brokers {
		admin := dial(t, broker.Address).Admin()
		for told := 0; told < len(brokers); time.Sleep(10 * time.Millisecond) {
			cluster, err := admin.GetCluster(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			told = 0
			for _, found := range cluster.Brokers {
				if found.Address != "" {
					told++
				}
			}
		}
	}
	admin := dial(t, brokers[0].Address).Admin()
	if _, err := admin.CreateTopic(testContext(t), "t", 1); err != nil {
		t.Fatal(err)
	}
	return ledBy(t, admin)
}

// ledBy gives the number of the broker that leads the topic t, from 0. It may be another one soon: on a
// busy machine a leader is elected anew.
func ledBy(t *testing.T, admin *ropewalk.Admin) int {
	t.Helper()
	_, partitions, err := admin.GetTopic(testContext(t), "t")
	if err != nil || partitions[0].Leader == 0 {
		t.Fatal(partitions, err)
	}
	return int(partitions[0].Leader) - 1
}

// A producer with many records of three partitions on their way rides over the death of the broker that
// leads the first of them, which is also the only one that it was told of. What may have been appended is
// sent again where that is wanted, and otherwise told.
func TestLeaderIsKilledUnderAProducer(t *testing.T) {
	t.Run("at least once", func(t *testing.T) {
		outcomes, found := numbersOverAKill(t, ropewalk.WithRetryMaybe())
		for partition, numbers := range found {
			next := partition
			for _, number := range numbers {
				if number > next {
					t.Fatalf("%d comes before %d", number, next)
				}
				if number == next {
					next += spread
				}
			}
			if next < len(outcomes) {
				t.Fatalf("%d is lost", next)
			}
		}
		for number, err := range outcomes {
			if err != nil {
				t.Fatalf("record %d: %v", number, err)
			}
		}
	})
	t.Run("at most once", func(t *testing.T) {
		outcomes, found := numbersOverAKill(t)
		there := map[int]bool{}
		for _, numbers := range found {
			for i, number := range numbers {
				if i > 0 && number <= numbers[i-1] {
					t.Fatalf("%d comes after %d", number, numbers[i-1])
				}
				there[number] = true
			}
		}
		for number, err := range outcomes {
			var e *ropewalk.Error
			switch {
			case err == nil && !there[number]:
				t.Fatalf("record %d is lost", number)
			case err != nil && (!errors.As(err, &e) || e.Appended() != ropewalk.OutcomeMaybe):
				t.Fatalf("record %d: %v", number, err)
			}
		}
		for _, err := range outcomes[len(outcomes)-spread:] {
			if err != nil {
				t.Fatal("one of the last records failed:", err)
			}
		}
	})
}

// Records that wait for others to be sent with ride over it as well: nothing is lost, comes twice or
// out of order, and no sender sees an error.
func TestLeaderIsKilledUnderAProducerThatBatches(t *testing.T) {
	for name, batching := range map[string]ropewalk.Batching{
		"for a time":     {Linger: 2 * time.Millisecond},
		"for many":       {Bytes: 2_000, Records: 150},
		"for few, or so": {Linger: 20 * time.Millisecond, Records: 30, MaxRecords: 7},
	} {
		t.Run(name, func(t *testing.T) {
			outcomes, found := numbersOverAKill(t, ropewalk.WithBatching(batching))
			for number, err := range outcomes {
				if err != nil {
					t.Fatalf("record %d: %v", number, err)
				}
			}
			for partition, numbers := range found {
				if want := len(outcomes) / spread; len(numbers) != want {
					t.Errorf("partition %d has %d records, not %d", partition, len(numbers), want)
				}
				for i, number := range numbers {
					if number != i*spread+partition {
						t.Fatalf("partition %d has %d at offset %d", partition, number, i)
					}
				}
			}
		})
	}
}

// spread is the number of partitions that the numbers are sent to, in turn.
const spread = 3

// numbersOverAKill sends numbers, and kills a broker among them. It gives the outcome of each, and what
// each partition then holds.
func numbersOverAKill(t *testing.T, options ...ropewalk.ProducerOption) ([]error, [spread][]int) {
	const count = 3000
	brokers := ropewalktest.StartCluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	admin := dial(t, brokers[0].Address).Admin()
	if _, err := admin.CreateTopic(ctx, "t", spread); err != nil {
		t.Fatal(err)
	}
	_, partitions, err := admin.GetTopic(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	leader := int(partitions[0].Leader) - 1
	producer := newProducer(t, dial(t, brokers[leader].Address), append(options,
		ropewalk.WithBatchBytes(512), ropewalk.WithPartitioner(ropewalk.ManualPartitioner))...)
	outcomes := make([]error, count)
	var answered sync.WaitGroup
	var killed time.Time
	var last atomic.Int64 // when the last of the killed broker's partition that waited was answered
	for number := range count {
		if number == count/2 {
			brokers[leader].Kill()
			killed = time.Now()
		}
		answered.Add(1)
		record := &ropewalk.Record{
			Topic: "t", Partition: int32(number % spread), Value: fmt.Append(nil, number),
		}
		err := producer.SendAsync(ctx, record, func(_ *ropewalk.Record, _ ropewalk.Ack, err error) {
			if outcomes[number] = err; number == count/2 {
				last.Store(time.Now().UnixNano())
			}
			answered.Done()
		})
		if err != nil {
			t.Fatal(err)
		}
		if number%20 == 0 {
			time.Sleep(time.Millisecond) // so that the kill falls among batches that are on their way
		}
	}
	if err := producer.Flush(ctx); err != nil { // what waits for more
		t.Fatal(err)
	}
	answered.Wait()
	t.Logf("the record that was sent at the kill was answered %v after it",
		time.Unix(0, last.Load()).Sub(killed))
	return outcomes, readNumbers(t, dial(t, brokers[(leader+1)%3].Address))
}

func readNumbers(t *testing.T, client *ropewalk.Client) (found [spread][]int) {
	t.Helper()
	consumer := newConsumer(t, client, ropewalk.WithTopics("t"), ropewalk.WithStop(ropewalk.StopCaughtUp()))
	for {
		record, err := consumer.Next(testContext(t))
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(string(record.Value))
		if err != nil {
			t.Fatal(err)
		}
		found[record.Partition] = append(found[record.Partition], number)
	}
}
