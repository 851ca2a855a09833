package kafka

import (
	"context"
	"errors"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// chosen are the partitions that the program has assigned itself. Each has a reader of its own, so
// that none waits for another.
type chosen struct {
	c       *Consumer
	batches chan batch
	// current is handed out record by record. It is of whoever has the turn.
	current batch
}

// A batch is what a reader brings: records of its partition, or an error in their place.
type batch struct {
	reader  *partReader
	records []ropewalk.Record
	err     error
}

// A partReader reads one partition in the background, from a start. It holds one batch beside what
// the core reads ahead.
type partReader struct {
	c      *Consumer
	part   *part
	to     chan<- batch
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	// next is behind what it has brought, if it knows where it is.
	next int64
}

// assignChosen reads partitions; with replace, no others.
func (c *Consumer) assignChosen(partitions []TopicPartition, replace bool) error {
	seen := map[ropewalk.TopicPartition]bool{}
	for _, tp := range partitions {
		if seen[tp.place()] {
			return errorf(ErrInvalidArg, "%v is named twice", tp)
		}
		seen[tp.place()] = true
	}
	if replace {
		c.mu.Lock()
		all := sortedParts(c.parts)
		c.mu.Unlock()
		c.drop(all)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.chosen == nil {
		c.chosen = &chosen{c: c, batches: make(chan batch)}
	}
	for _, tp := range partitions {
		p := newPart(tp.place())
		p.assigned, p.given = true, tp.Offset
		if tp.Offset >= 0 {
			p.next = int64(tp.Offset)
		}
		c.parts[p.at] = p
		c.read(p, tp.Offset)
	}
	return nil
}

// read has a partition be read from an offset. The caller holds the lock.
func (c *Consumer) read(p *part, from Offset) {
	r := &partReader{c: c, part: p, to: c.chosen.batches, done: make(chan struct{}), next: -1}
	r.ctx, r.cancel = context.WithCancel(c.ctx)
	p.reader = r
	c.tasks.Go(func() {
		defer close(r.done)
		r.run(from)
	})
}

func (r *partReader) close() {
	r.cancel()
	<-r.done
}

// run reads until the reader is closed. What cannot be read now is tried again.
func (r *partReader) run(from Offset) {
	pause := doubling(r.c.s.reconnectFirst, r.c.s.reconnectLatest)
	told := ErrNoError
	for attempt := 1; ; attempt++ {
		began := time.Now()
		err := r.read(from)
		if r.ctx.Err() != nil {
			return
		}
		if code := asError(err).code; code != told {
			told = code // once: it may go on for long
			r.bring(batch{reader: r, err: err})
		}
		if errors.Is(err, ropewalk.ReasonOffsetOutOfRange) {
			return // there is nowhere to read: the program says where
		}
		if r.next >= 0 {
			from = Offset(r.next)
		}
		if time.Since(began) > time.Minute {
			attempt, told = 1, ErrNoError
		}
		select {
		case <-time.After(pause(attempt)):
		case <-r.ctx.Done():
			return
		}
	}
}

// read opens a consumer of the core, and brings what it reads.
func (r *partReader) read(from Offset) error {
	client, err := r.c.core(r.ctx)
	if err != nil {
		return err
	}
	at := r.part.at
	if !r.c.s.consumer.autoCreate {
		if _, _, err := client.Admin().GetTopic(r.ctx, at.Topic); err != nil {
			return err // a reader would create it, where that is allowed
		}
	}
	start, err := r.c.startOf(r.ctx, at, from)
	if err != nil {
		return err
	}
	s := r.c.s
	consumer, err := client.NewConsumer(r.ctx,
		ropewalk.WithPartition(at.Topic, at.Partition, start),
		ropewalk.WithFetchBytes(min(s.consumer.fetchBytes, s.consumer.fetchMax, mostFetched)),
		ropewalk.WithReconnectBackoff(doubling(s.reconnectFirst, s.reconnectLatest)))
	if err != nil {
		return err
	}
	defer consumer.Close()
	if position, ok := consumer.Position(at.Topic, at.Partition); ok {
		r.next = position.Offset
		r.c.began(r, position)
	}
	for {
		records, err := consumer.Poll(r.ctx)
		switch {
		case err == nil:
			r.next = records[len(records)-1].Offset + 1
			r.bring(batch{reader: r, records: records})
		case errors.Is(err, ropewalk.ReasonGap):
			if gap := (*ropewalk.Gap)(nil); errors.As(err, &gap) {
				r.next = gap.To
			}
			r.bring(batch{reader: r, err: err})
		default:
			return err
		}
		if r.ctx.Err() != nil {
			return nil
		}
	}
}

func (r *partReader) bring(b batch) {
	select {
	case r.to <- b:
	case <-r.ctx.Done():
	}
}

// startOf is where the core begins.
func (c *Consumer) startOf(
	ctx context.Context, at ropewalk.TopicPartition, from Offset,
) (ropewalk.Start, error) {
	switch {
	case from >= 0:
		return ropewalk.StartOffset(int64(from)), nil
	case from == OffsetBeginning:
		return ropewalk.StartEarliest(), nil
	case from == OffsetEnd:
		return ropewalk.StartLatest(), nil
	case from != OffsetStored && from != OffsetInvalid:
		n, err := c.logical(ctx, at, from)
		return ropewalk.StartOffset(int64(n)), err
	case c.s.consumer.latest:
		return ropewalk.StartCommittedOrLatest(c.s.consumer.group), nil
	}
	return ropewalk.StartCommitted(c.s.consumer.group), nil
}

// began notes where a reader begins.
func (c *Consumer) began(r *partReader, at ropewalk.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.part.reader != r {
		return
	}
	if r.part.next < 0 {
		r.part.next = at.Offset
	}
	c.bounds[r.part.at] = watermarks{at.LogStart, at.HighWatermark}
	if c.s.consumer.eof && c.stop != nil {
		c.stop() // it may be at its end
	}
}

// next waits for a record; without one and without an error the context has ended.
func (s *chosen) next(ctx context.Context) (*ropewalk.Record, error) {
	for {
		if s.current.reader != nil {
			if !s.c.current(s.current.reader) {
				s.current = batch{} // it is read from elsewhere now, or not at all
				continue
			}
			if err := s.current.err; err != nil {
				s.current = batch{}
				if errors.Is(err, ropewalk.ReasonGap) {
					s.c.passGap(err)
				}
				return nil, err
			}
			if records := s.current.records; len(records) > 0 {
				s.current.records = records[1:]
				return &records[0], nil
			}
			s.current = batch{}
		}
		select {
		case s.current = <-s.batches:
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// current reports whether a reader is its partition's.
func (c *Consumer) current(r *partReader) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return r.part.reader == r
}

// endChosen reads nothing any more of what the program has assigned.
func (c *Consumer) endChosen() {
	c.mu.Lock()
	was := c.chosen
	var all []*part
	if was != nil {
		all = sortedParts(c.parts)
	}
	c.mu.Unlock()
	if was == nil {
		return
	}
	c.unassign(all)
	c.remove(all)
	c.mu.Lock()
	c.chosen = nil
	c.mu.Unlock()
}
