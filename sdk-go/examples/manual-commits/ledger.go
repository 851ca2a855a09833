package main

import (
	"context"
	"errors"
	"log"
	"sync"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A job is a record that waits for a worker, or that some worker has.
type job struct {
	record *ropewalk.Record
	share  *share
	// over is closed when nobody works on it any more.
	over   chan struct{}
	booked bool
}

// A share is what is at hand of a partition, from when the member got it until it has to give it.
type share struct {
	// held ends with that.
	held context.Context
	drop context.CancelFunc
	// jobs are those that are not committed, by offset.
	jobs []*job
}

// A ledger knows how far the partitions are.
type ledger struct {
	// changed holds a token when there is something to commit.
	changed chan struct{}
	// committing is held during a commit, so that none overtakes a later one.
	committing sync.Mutex

	mu     sync.Mutex
	shares map[ropewalk.TopicPartition]*share
}

func (l *ledger) init() {
	l.changed, l.shares = make(chan struct{}, 1), map[ropewalk.TopicPartition]*share{}
}

// enter makes a job of a record.
func (l *ledger) enter(r *ropewalk.Record) *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	tp := ropewalk.TopicPartition{Topic: r.Topic, Partition: r.Partition}
	s := l.shares[tp]
	if s == nil {
		s = &share{}
		s.held, s.drop = context.WithCancel(context.Background())
		l.shares[tp] = s
	}
	j := &job{record: r, share: s, over: make(chan struct{})}
	s.jobs = append(s.jobs, j)
	return j
}

// done marks a job as booked.
func (l *ledger) done(j *job) {
	l.mu.Lock()
	j.booked = true
	l.mu.Unlock()
	l.change()
}

func (l *ledger) change() {
	select {
	case l.changed <- struct{}{}:
	default: // the next commit has it too
	}
}

// keep commits what is done until the context ends.
func (l *ledger) keep(ctx context.Context, member *ropewalk.GroupConsumer) error {
	for {
		select {
		case <-l.changed:
		case <-ctx.Done():
			return nil
		}
		// A commit that has begun is not given up when the program is to end.
		err := l.commit(context.WithoutCancel(ctx), member)
		if e := (*ropewalk.Error)(nil); errors.As(err, &e) && e.Retriable() {
			log.Println("the next commit may do:", err) // this one has tried for a while
			l.change()
		} else if err != nil {
			return err
		}
	}
}

// commit commits, of each partition, the offset before which everything is booked.
func (l *ledger) commit(ctx context.Context, member *ropewalk.GroupConsumer) error {
	l.committing.Lock()
	defer l.committing.Unlock()
	offsets := l.booked()
	err := member.CommitOffset(ctx, offsets...)
	if err == nil {
		l.settle(offsets...)
	}
	if !errors.Is(err, ropewalk.ReasonMemberFenced) {
		return err
	}
	// One of the partitions has gone, and nothing was committed. The others are committed alone.
	for _, o := range offsets {
		err := member.CommitOffset(ctx, o)
		if errors.Is(err, ropewalk.ReasonMemberFenced) {
			log.Printf("%s/%d is another's: what was booked before %d may be booked twice",
				o.Topic, o.Partition, o.Offset)
		} else if err != nil {
			return err
		}
		l.settle(o)
	}
	return nil
}

// booked are the offsets before which everything is booked, where there is something to commit.
func (l *ledger) booked() []ropewalk.CommittedOffset {
	l.mu.Lock()
	defer l.mu.Unlock()
	var offsets []ropewalk.CommittedOffset
	for _, s := range l.shares {
		n := 0
		for n < len(s.jobs) && s.jobs[n].booked {
			n++
		}
		if n > 0 {
			offsets = append(offsets, s.jobs[n-1].record.ToCommit())
		}
	}
	return offsets
}

// settle forgets the jobs before offsets.
func (l *ledger) settle(offsets ...ropewalk.CommittedOffset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range offsets {
		s := l.shares[o.TopicPartition]
		for s != nil && len(s.jobs) > 0 && s.jobs[0].record.Offset < o.Offset {
			s.jobs = s.jobs[1:]
		}
	}
}

// finish waits until nobody works on the records of partitions, or the context ends.
func (l *ledger) finish(ctx context.Context, partitions []ropewalk.Position) {
	l.mu.Lock()
	var jobs []*job
	for _, p := range partitions {
		if s := l.shares[p.TopicPartition]; s != nil {
			jobs = append(jobs, s.jobs...)
		}
	}
	l.mu.Unlock()
	for _, j := range jobs {
		select {
		case <-j.over:
		case <-ctx.Done():
			return
		}
	}
}

// drop forgets partitions. What waits of them is not booked here: it comes to whoever has them.
func (l *ledger) drop(partitions []ropewalk.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range partitions {
		if s := l.shares[p.TopicPartition]; s != nil {
			s.drop()
			delete(l.shares, p.TopicPartition)
		}
	}
}
