// Manual-commits is a member of a consumer group that commits a record when it is done with it, and
// not before: what it was working on when it ended comes again, here or to another member.
//
//	go run ./examples/manual-commits -topic payments -workers 4
//
// Workers share the records; those of one key stay in order, with one worker. Of each partition the
// offset is committed before which every record is done. ROPEWALK_SERVER names the broker; default
// localhost:9092.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/maphash"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// book is what is to be done with a record. It must bear to see one twice.
func book(r *ropewalk.Record) { fmt.Printf("%s of %s is booked\n", r.Value, r.Key) }

// A job is a record that some worker has, or is done with.
type job struct {
	record *ropewalk.Record
	done   chan struct{}
}

// progress commits jobs in the order in which they came.
func progress(ctx context.Context, member *ropewalk.GroupConsumer, jobs <-chan job) error {
	for j := range jobs {
		<-j.done
		err := member.CommitOffset(ctx, j.record.ToCommit())
		if errors.Is(err, ropewalk.ReasonMemberFenced) {
			// The partition has gone to another member, which reads this record again.
			log.Printf("%s/%d@%d is another's", j.record.Topic, j.record.Partition, j.record.Offset)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// work hands records to workers until the context ends, and then waits for what they have.
func work(ctx context.Context, member *ropewalk.GroupConsumer, workers int) error {
	jobs := make(chan job, 100) // bounds what is not committed
	queues := make([]chan job, workers)
	var all sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan job, 10)
		all.Go(func() {
			for j := range queues[i] {
				book(j.record)
				close(j.done)
			}
		})
	}
	committed := make(chan error, 1)
	stopped, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer stop() // without commits, to go on makes no sense
		committed <- progress(context.WithoutCancel(ctx), member, jobs)
	}()
	seed := maphash.MakeSeed()
	var failed error
	for record, err := range member.Records(stopped) {
		if errors.Is(err, ropewalk.ReasonGap) {
			log.Println(err) // they are gone, and reading goes on behind them
			continue
		}
		if err != nil && stopped.Err() == nil {
			failed = err
		}
		if err != nil {
			break
		}
		j := job{record, make(chan struct{})}
		select {
		case jobs <- j:
			queues[maphash.Bytes(seed, record.Key)%uint64(workers)] <- j
			continue
		case <-stopped.Done():
		}
		break
	}
	for _, queue := range queues {
		close(queue)
	}
	close(jobs)
	all.Wait()
	return errors.Join(failed, <-committed)
}

func run(ctx context.Context, group, topic string, workers int) error {
	client, err := ropewalk.Dial(ctx, []string{cmp.Or(os.Getenv("ROPEWALK_SERVER"), "localhost:9092")})
	if err != nil {
		return err
	}
	defer client.Close()
	member, err := client.JoinGroup(ctx, group,
		ropewalk.GroupTopics(topic), ropewalk.GroupManualCommit())
	if err != nil {
		return err
	}
	return errors.Join(work(ctx, member, workers), member.Close())
}

func main() {
	topic := flag.String("topic", "payments", "the topic to read")
	group := flag.String("group", "bookkeeping", "the consumer group to be a member of")
	workers := flag.Int("workers", 4, "how many records are worked on at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *group, *topic, max(*workers, 1)); err != nil {
		log.Fatal(err)
	}
}
