// Manual-commits is a member of a consumer group that commits a record when it is done with it, and
// not before: what it was working on when it ended comes again, here or to another member.
//
//	go run ./examples/manual-commits -topic payments -workers 4
//
// Workers share the records; those of one key stay in order, with one worker. Of each partition the
// offset is committed before which every record is done, of all partitions with one call, and what
// gets done during a commit is in the next one. Before a partition goes to another member, its
// records are finished and committed.
//
// A record that cannot be booked now is tried again, and holds up what comes after it. One that can
// never be booked goes to the topic TOPIC-failed, and is done once it is there. ROPEWALK_SERVER
// names the broker; default localhost:9092.
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
	"strconv"
	"sync"
	"syscall"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const (
	// drain is how long a partition that is to go may wait for its records.
	drain = 20 * time.Second
	// atHand bounds the records that are at hand and not committed. So a revocation comes soon.
	atHand = 200
)

// errNever marks a record that no later try will book.
var errNever = errors.New("it will never be booked")

// book is what is to be done with a record. It must bear to see one twice: after a crash, what was
// booked and not committed comes again.
func book(r *ropewalk.Record) error {
	if _, err := strconv.Atoi(string(r.Value)); err != nil {
		return fmt.Errorf("%w: %w", errNever, err)
	}
	_, err := fmt.Printf("%s of %s is booked\n", r.Value, r.Key)
	return err
}

// program is the member with its workers.
type program struct {
	member   *ropewalk.GroupConsumer
	producer *ropewalk.Producer // of records that failed
	takes    time.Duration
	queues   []chan *job
	seed     maphash.Seed
	ledger   ledger
}

// work hands records to workers until the context ends. The workers finish those that they have in
// their hands; what waits for them comes again.
func (p *program) work(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var workers sync.WaitGroup
	for _, queue := range p.queues {
		workers.Go(func() {
			for j := range queue {
				p.do(ctx, j)
			}
		})
	}
	committed := make(chan error, 1)
	go func() {
		defer stop() // without commits, to go on makes no sense
		committed <- p.ledger.keep(ctx, p.member)
	}()
	err := p.read(ctx)
	stop()
	for _, queue := range p.queues {
		close(queue)
	}
	workers.Wait()
	err = errors.Join(err, <-committed)
	// The last ones, also when the context has ended.
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	return errors.Join(err, p.ledger.commit(limit, p.member))
}

// read hands records on until the context ends.
func (p *program) read(ctx context.Context) error {
	for ctx.Err() == nil {
		record, err := p.member.Next(ctx)
		switch {
		case err == nil:
			j := p.ledger.enter(record)
			select {
			case p.queues[maphash.Bytes(p.seed, record.Key)%uint64(len(p.queues))] <- j:
			case <-ctx.Done():
				close(j.over)
			}
		case errors.Is(err, ropewalk.ReasonGap):
			log.Println(err) // they are gone, and reading goes on behind them
		case ctx.Err() == nil:
			return err
		}
	}
	return nil
}

// do books a record, and tries until it is booked or not this member's to book any more.
func (p *program) do(ctx context.Context, j *job) {
	defer close(j.over)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(j.share.held, cancel)()
	for pause := 100 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 10*time.Second) {
		err := book(j.record)
		if errors.Is(err, errNever) {
			err = p.setAside(ctx, j.record, err)
		}
		if err == nil {
			sleep(context.WithoutCancel(ctx), p.takes)
			p.ledger.done(j)
			return
		}
		// Those behind it, of the same key, must not overtake it.
		log.Printf("%s/%d@%d is tried again in %v: %v",
			j.record.Topic, j.record.Partition, j.record.Offset, pause, err)
		sleep(ctx, pause)
	}
}

// setAside keeps a record for people to look at. Like what is booked, it can be there twice: its
// offset tells.
func (p *program) setAside(ctx context.Context, r *ropewalk.Record, why error) error {
	log.Printf("%s/%d@%d is set aside: %v", r.Topic, r.Partition, r.Offset, why)
	_, err := p.producer.Send(ctx, &ropewalk.Record{
		Topic: r.Topic + "-failed", Key: r.Key, Value: r.Value, Timestamp: r.Timestamp,
		Headers: append(r.Headers[:len(r.Headers):len(r.Headers)],
			ropewalk.Header{Key: "partition", Value: fmt.Append(nil, r.Partition)},
			ropewalk.Header{Key: "offset", Value: fmt.Append(nil, r.Offset)},
			ropewalk.Header{Key: "error", Value: []byte(why.Error())}),
	})
	return err
}

// sleep returns early when the context ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (p *program) run(ctx context.Context, group, topic string) (err error) {
	server := cmp.Or(os.Getenv("ROPEWALK_SERVER"), "localhost:9092")
	client, err := ropewalk.Dial(ctx, []string{server})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }() // it closes the producer
	if p.producer, err = client.NewProducer(); err != nil {
		return err
	}
	p.member, err = client.JoinGroup(ctx, group,
		ropewalk.GroupTopics(topic), ropewalk.GroupManualCommit(),
		ropewalk.GroupInFlight(atHand, 0), ropewalk.GroupFetchBytes(64<<10),
		ropewalk.GroupDrainTimeout(drain),
		ropewalk.GroupRevoked(func(ctx context.Context, partitions []ropewalk.Position) {
			// The partitions are given back when this returns.
			ctx, cancel := context.WithTimeout(ctx, drain*9/10)
			defer cancel()
			p.ledger.finish(ctx, partitions)
			if err := p.ledger.commit(ctx, p.member); err != nil {
				log.Println("records may be booked twice:", err)
			}
			p.ledger.drop(partitions)
		}),
		ropewalk.GroupLost(func(_ context.Context, partitions []ropewalk.Position) {
			p.ledger.drop(partitions)
		}))
	if err != nil {
		return err
	}
	return errors.Join(p.work(ctx), p.member.Close())
}

func main() {
	p := &program{seed: maphash.MakeSeed()}
	p.ledger.init()
	topic := flag.String("topic", "payments", "the topic to read")
	group := flag.String("group", "bookkeeping", "the consumer group to be a member of")
	workers := flag.Int("workers", 4, "how many records are worked on at once")
	flag.DurationVar(&p.takes, "takes", 0, "how much longer a record takes, to try it out")
	flag.Parse()
	for range max(*workers, 1) {
		// There is room for all that is at hand: only who asks for more hears of revocations.
		p.queues = append(p.queues, make(chan *job, 10*atHand))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := p.run(ctx, *group, *topic); err != nil {
		log.Fatal(err)
	}
}
