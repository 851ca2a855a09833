package kafka

import (
	"context"
	"errors"
	"fmt"
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
		c.drop(c.all())
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
	p.reader, p.from = r, from
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
	told := ErrNoError
	for attempt := 1; ; attempt++ {
		began := time.Now()
		err := r.read(from)
		if r.ctx.Err() != nil {
			return
		}
		if errors.Is(err, ropewalk.ReasonTopicReplaced) {
			r.c.startOver(r)
			return
		}
		beyond := errors.Is(err, ropewalk.ReasonOffsetOutOfRange)
		if beyond {
			err = fmt.Errorf("%w: reading goes on at the %v, as auto.offset.reset says",
				err, r.c.resetTo())
		}
		if code := asError(err).code; code != told {
			told = code // once: it may go on for long
			r.bring(batch{reader: r, err: err})
		}
		switch {
		case beyond:
			from, r.next = r.c.resetTo(), -1
			r.c.forgetNext(r)
		case r.next >= 0:
			from = Offset(r.next)
		}
		if time.Since(began) > time.Minute {
			attempt, told = 1, ErrNoError
		}
		select {
		case <-time.After(r.c.s.reconnectPause(attempt)):
		case <-r.ctx.Done():
			return
		}
	}
}

// resetTo is where reading begins when there is no other place.
func (c *Consumer) resetTo() Offset {
	if c.s.consumer.latest {
		return OffsetEnd
	}
	return OffsetBeginning
}

// forgetNext has the place of a partition be where its reader begins next.
func (c *Consumer) forgetNext(r *partReader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.part.reader == r {
		r.part.next, r.part.handed, r.part.from = -1, false, c.resetTo()
	}
}

// startOver reads a topic that has taken the place of another of its name. Nothing of the other one
// holds for it: neither what is to be handed out still, nor what is to be committed.
func (c *Consumer) startOver(r *partReader) {
	c.mu.Lock()
	p := r.part
	if p.reader != r {
		c.mu.Unlock()
		return
	}
	p.next, p.handed, p.end, p.committed, p.topicID = -1, false, -1, -1, ""
	p.stored, p.before = nil, ropewalk.CommittedOffset{}
	if c.last != nil && c.last.Topic == p.at.Topic && c.last.Partition == p.at.Partition {
		c.last = nil
	}
	c.read(p, c.resetTo())
	c.mu.Unlock()
	c.tell(errorf(ErrUnknownTopicID, "%v: topic %s was deleted and created again: %s [%d] is read "+
		"from its %v, as auto.offset.reset says", ErrUnknownTopicID, p.at.Topic, p.at.Topic,
		p.at.Partition, c.resetTo()))
}

// queuedBytes bounds what is read ahead of all partitions that the program has chosen, but for one
// fetch of each: it is what queued.max.messages.kbytes is by default.
const (
	queuedBytes = 65536 << 10
	leastFetch  = 64 << 10
)

// readAhead is how many fetches wait for a program that reads so many partitions, and how large
// each is at most.
func (s *consumerSettings) readAhead(partitions int) (fetches, bytes int) {
	share := queuedBytes / max(partitions, 1)
	bytes = min(s.fetchBytes, s.fetchMax, mostFetched)
	bytes = min(bytes, max(share/2, leastFetch))
	return min(max(share/bytes-1, 1), 4), bytes
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
	fetches, bytes := s.consumer.readAhead(len(r.c.all()))
	consumer, err := client.NewConsumer(r.ctx,
		ropewalk.WithPartition(at.Topic, at.Partition, start),
		ropewalk.WithFetchBytes(bytes), ropewalk.WithReadAhead(fetches),
		ropewalk.WithReconnectBackoff(s.reconnectPause))
	if err != nil {
		return err
	}
	defer consumer.Close()
	if position, ok := consumer.Position(at.Topic, at.Partition); ok {
		if !r.c.began(r, position) {
			return ropewalk.ReasonTopicReplaced
		}
		r.next = position.Offset
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

// logical is the number of a logical offset.
func (c *Consumer) logical(
	ctx context.Context, at ropewalk.TopicPartition, offset Offset,
) (Offset, error) {
	found := start{p: &part{at: at}, want: offset, at: int64(offset), end: -1}
	if err := c.bound(ctx, []*start{&found}); err != nil {
		return 0, err
	}
	return Offset(found.at), found.err
}

// began notes where a reader begins; it reports false when the topic is not the one that was read
// before.
func (c *Consumer) began(r *partReader, at ropewalk.Position) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := r.part
	if p.reader != r {
		return true
	}
	if p.topicID != "" && p.topicID != at.TopicID {
		return false
	}
	p.topicID = at.TopicID
	if p.next < 0 {
		p.next = at.Offset
	}
	c.bounds[p.at] = watermarks{at.LogStart, at.HighWatermark}
	c.hasMoved() // it may be at its end
	return true
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
	c.mu.Unlock()
	if was == nil {
		return
	}
	all := c.all()
	c.unassign(all)
	c.remove(all)
	c.mu.Lock()
	c.chosen = nil
	c.mu.Unlock()
}
