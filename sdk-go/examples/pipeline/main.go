// Pipeline writes a topic into files of NDJSON, one record a line.
//
//	go run ./examples/pipeline -topic orders -dir out -records 1000 -age 1m
//
// It is a member of a consumer group, so that several of them share the work, also in one
// directory. Each partition has a file of its own, named by topic, partition and first offset. It is
// ended when it has so many records, or is so old, or the partition goes to another member; it is
// then synced and gets its name, and only then is what is in it committed.
//
// A crash between the two has the same records written again, into a file with the same name: it
// takes the place of the other one, so that each record is there once. Nothing makes that so where
// members have directories of their own, or somebody sets the group back. ROPEWALK_SERVER names the
// broker; default localhost:9092.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// sink is where the records go. Only whoever polls the member looks at it, and the handlers of the
// member, which run within that.
type sink struct {
	dir     string
	records int
	age     time.Duration
	member  *ropewalk.GroupConsumer
	files   map[ropewalk.TopicPartition]*file
}

// write takes records, all of one partition.
func (s *sink) write(ctx context.Context, records []ropewalk.Record) error {
	tp := ropewalk.TopicPartition{Topic: records[0].Topic, Partition: records[0].Partition}
	for len(records) > 0 {
		f := s.files[tp]
		if f == nil {
			var err error
			if f, err = create(s.dir, &records[0], time.Now().Add(s.age)); err != nil {
				return err
			}
			s.files[tp] = f
		}
		n := min(len(records), s.records-f.lines)
		if err := f.write(records[:n]); err != nil {
			return err
		}
		records = records[n:]
		if f.lines >= s.records {
			if err := s.end(ctx, tp); err != nil {
				return err
			}
		}
	}
	return nil
}

// end makes the file of a partition one that is there to stay, and commits what is in it. It is not
// given up when the program is to end. Where the partition has gone to another member, which has
// begun where this file begins, that is no error: the file is dropped, or replaced by the other's.
func (s *sink) end(ctx context.Context, tp ropewalk.TopicPartition) error {
	f := s.files[tp]
	if f == nil {
		return nil
	}
	delete(s.files, tp)
	defer f.drop() // if it has no name by then
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	// A member that was away, and does not know it yet, must not replace what the next one wrote.
	err := s.member.CommitOffset(ctx, f.first)
	if err == nil {
		err = f.end(s.dir)
	}
	if err == nil {
		err = s.member.CommitOffset(ctx, f.next)
	}
	if errors.Is(err, os.ErrNotExist) {
		// Whoever has the partition now has thrown it away. Or else somebody has.
		err = errors.Join(err, s.member.CommitOffset(ctx, f.first))
	}
	if errors.Is(err, ropewalk.ReasonMemberFenced) {
		log.Printf("%s is another member's to write: %v", f.name, err)
		return nil
	}
	if err == nil {
		fmt.Println(f.name, f.lines)
	}
	return err
}

// run moves records until the context ends.
func (s *sink) run(ctx context.Context) error {
	for ctx.Err() == nil {
		records, err := s.poll(ctx)
		switch {
		case err == nil:
			if err := s.write(ctx, records); err != nil {
				return err
			}
		case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded): // a file is old
		case errors.Is(err, ropewalk.ReasonGap):
			log.Println(err) // they are gone, and reading goes on behind them
		default:
			return err
		}
		if err := s.endAll(ctx, time.Now()); err != nil {
			return err
		}
	}
	return s.endAll(ctx, time.Now().Add(s.age))
}

// endAll ends the files that are old by then.
func (s *sink) endAll(ctx context.Context, now time.Time) error {
	for tp, f := range s.files {
		if now.Before(f.until) {
			continue
		}
		if err := s.end(ctx, tp); err != nil {
			return err
		}
	}
	return nil
}

// poll waits for records, no longer than until a file is old.
func (s *sink) poll(ctx context.Context) ([]ropewalk.Record, error) {
	for _, f := range s.files {
		limit, cancel := context.WithDeadline(ctx, f.until)
		defer cancel()
		ctx = limit
	}
	return s.member.Poll(ctx)
}

// assigned throws away what a crash has left of files that were not ended: the partitions are this
// member's from here on, and their records come again.
func (s *sink) assigned(ctx context.Context, partitions []ropewalk.Position) {
	s.lost(ctx, partitions)
	for _, p := range partitions {
		left, err := filepath.Glob(filepath.Join(s.dir, openFiles(p.TopicPartition)))
		for _, path := range left {
			err = errors.Join(err, os.Remove(path))
		}
		if err != nil {
			log.Println("what a crash has left is still there:", err)
		}
	}
}

// revoked ends the files of partitions before other members go on with them.
func (s *sink) revoked(ctx context.Context, partitions []ropewalk.Position) {
	for _, p := range partitions {
		if err := s.end(ctx, p.TopicPartition); err != nil {
			log.Println("whoever has the partition next writes the records again:", err)
		}
	}
}

// lost drops the files of partitions that others have already.
func (s *sink) lost(_ context.Context, partitions []ropewalk.Position) {
	for _, p := range partitions {
		if f := s.files[p.TopicPartition]; f != nil {
			delete(s.files, p.TopicPartition)
			f.drop()
		}
	}
}

func pipe(ctx context.Context, s *sink, group, topic string) (err error) {
	server := cmp.Or(os.Getenv("ROPEWALK_SERVER"), "localhost:9092")
	client, err := ropewalk.Dial(ctx, []string{server})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	s.member, err = client.JoinGroup(ctx, group,
		ropewalk.GroupTopics(topic), ropewalk.GroupManualCommit(),
		ropewalk.GroupAssigned(s.assigned), ropewalk.GroupRevoked(s.revoked),
		ropewalk.GroupLost(s.lost))
	if err != nil {
		return err
	}
	err = s.run(ctx)
	for _, f := range s.files {
		f.drop() // after an error
	}
	return errors.Join(err, s.member.Close())
}

// openFiles matches the names of files of a partition that are not ended.
func openFiles(tp ropewalk.TopicPartition) string {
	return fmt.Sprintf("%s-%d-%s.ndjson.*.part", tp.Topic, tp.Partition, strings.Repeat("[0-9]", 20))
}

func main() {
	s := &sink{files: map[ropewalk.TopicPartition]*file{}}
	topic := flag.String("topic", "orders", "the topic to write")
	group := flag.String("group", "pipeline", "the consumer group to be a member of")
	flag.StringVar(&s.dir, "dir", ".", "where to write; the members of a group can share it")
	flag.IntVar(&s.records, "records", 100_000, "how many records a file has")
	flag.DurationVar(&s.age, "age", time.Minute, "how old a file gets")
	flag.Parse()
	s.records = max(s.records, 1)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := pipe(ctx, s, *group, *topic); err != nil {
		log.Fatal(err)
	}
}
