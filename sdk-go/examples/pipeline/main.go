// Pipeline writes a topic into files of NDJSON, one record a line.
//
//	go run ./examples/pipeline -topic orders -dir out -records 1000 -age 1m
//
// It is a member of a consumer group, so that several of them share the work. A file is ended when
// it has so many records, or is so old; it is then synced and gets its name, and only then is what
// is in it committed. A crash between the two writes the same records again, into another file:
// each line has its partition and offset, by which they are known. What a crash leaves of a file
// that was not ended is thrown away, as its records come again. ROPEWALK_SERVER names the broker;
// default localhost:9092.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// line is a record as it is written. JSON has no bytes: key and value are taken for text.
type line struct {
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time"`
	Key       string    `json:"key,omitempty"`
	Value     string    `json:"value"`
}

// sink is where the records go.
type sink struct {
	dir     string
	records int
	age     time.Duration
	member  *ropewalk.GroupConsumer

	file   *os.File // nil until there is something to write
	buffer *bufio.Writer
	lines  int
	first  ropewalk.TopicPartition
	from   int64
	until  time.Time // when the file is old
}

// write takes records, all of one partition.
func (s *sink) write(records []ropewalk.Record) error {
	if s.file == nil {
		file, err := os.CreateTemp(s.dir, "open-*.part")
		if err != nil {
			return err
		}
		s.file, s.buffer, s.lines = file, bufio.NewWriter(file), 0
		s.first = ropewalk.TopicPartition{Topic: records[0].Topic, Partition: records[0].Partition}
		s.from, s.until = records[0].Offset, time.Now().Add(s.age)
	}
	encoder := json.NewEncoder(s.buffer)
	for _, r := range records {
		err := encoder.Encode(line{r.Partition, r.Offset, r.Timestamp, string(r.Key), string(r.Value)})
		if err != nil {
			return err
		}
	}
	s.lines += len(records)
	return nil
}

// end makes the file one that is there to stay, and commits what was handed out: all of it is in
// this file, or in those before.
func (s *sink) end(ctx context.Context) error {
	if s.file == nil {
		return nil
	}
	// One that began with the same record was not committed: all that is in it comes again.
	name := fmt.Sprintf("%s-%d-%020d.ndjson", s.first.Topic, s.first.Partition, s.from)
	err := errors.Join(s.buffer.Flush(), s.file.Sync(), s.file.Close())
	if err == nil {
		err = os.Rename(s.file.Name(), filepath.Join(s.dir, name))
	}
	s.file = nil
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		return err
	}
	fmt.Println(name, s.lines)
	return s.member.Commit(ctx)
}

// syncDir makes the name of a file as durable as what is in it.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// run moves records until the context ends.
func (s *sink) run(ctx context.Context) error {
	for ctx.Err() == nil {
		records, err := s.poll(ctx)
		switch {
		case ctx.Err() != nil:
			continue
		case errors.Is(err, context.DeadlineExceeded): // the file is old
		case errors.Is(err, ropewalk.ReasonGap):
			log.Println(err) // they are gone, and reading goes on behind them
		case err != nil:
			return err
		default:
			if err := s.write(records); err != nil {
				return err
			}
		}
		if s.file != nil && (s.lines >= s.records || !time.Now().Before(s.until)) {
			if err := s.end(ctx); err != nil {
				return err
			}
		}
	}
	return s.end(context.WithoutCancel(ctx))
}

// poll waits for records, no longer than the file may become old.
func (s *sink) poll(ctx context.Context) ([]ropewalk.Record, error) {
	if s.file != nil {
		limit, cancel := context.WithDeadline(ctx, s.until)
		defer cancel()
		ctx = limit
	}
	return s.member.Poll(ctx)
}

func pipe(ctx context.Context, s *sink, group, topic string) error {
	left, err := filepath.Glob(filepath.Join(s.dir, "open-*.part"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	client, err := ropewalk.Dial(ctx, []string{cmp.Or(os.Getenv("ROPEWALK_SERVER"), "localhost:9092")})
	if err != nil {
		return err
	}
	defer client.Close()
	s.member, err = client.JoinGroup(ctx, group,
		ropewalk.GroupTopics(topic), ropewalk.GroupManualCommit(),
		ropewalk.GroupRevoked(func(ctx context.Context, _ []ropewalk.Position) {
			// Before another member goes on with these partitions.
			if err := s.end(ctx); err != nil {
				log.Println("records may come twice:", err)
			}
		}))
	if err != nil {
		return err
	}
	return errors.Join(s.run(ctx), s.member.Close())
}

func main() {
	s := &sink{}
	topic := flag.String("topic", "orders", "the topic to write")
	group := flag.String("group", "pipeline", "the consumer group to be a member of")
	flag.StringVar(&s.dir, "dir", ".", "where to write; each member has a directory of its own")
	flag.IntVar(&s.records, "records", 100_000, "how many records a file has, or a few more")
	flag.DurationVar(&s.age, "age", time.Minute, "how old a file gets")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := pipe(ctx, s, *group, *topic); err != nil {
		log.Fatal(err)
	}
}
