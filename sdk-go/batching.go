package ropewalk

import "time"

// Batching says what records wait for before they are sent, together with others. What waits is
// counted over all partitions of a producer, and sent at once when there is enough of it, or it has
// waited for long enough, whichever comes first. The zero value never waits.
type Batching struct {
	// Linger is the longest that a record waits. 0, with Bytes or Records: until there is enough, but
	// at most half of the delivery timeout. 0 without them: no record waits.
	Linger time.Duration
	// Bytes sends what waits when it has so many bytes in encoded form. 0: they do not matter.
	Bytes int
	// Records sends what waits when it is so many records. 0: their number does not matter.
	Records int
	// MaxRecords bounds the records of one batch, which is for one partition; it makes nothing wait.
	// 0: no bound but that of [WithBatchBytes].
	MaxRecords int
}

// WithBatching has records wait for others to be sent with, for fewer and larger batches, which
// also compress better. Nothing waits during [Producer.Flush] and [Producer.Close], nor while there
// is no memory for more ([WithBufferBytes]); [Producer.Append] is not touched by it. The delivery
// timeout counts the wait too. Default: nothing waits; what comes while a batch of its partition is
// under way is the next one.
func WithBatching(b Batching) ProducerOption { return func(c *producerConfig) { c.batching = b } }

func (b *Batching) validate(c *producerConfig) error {
	const op = "new producer"
	switch {
	case b.Linger < 0:
		return invalidError(op, "the linger must not be negative, but is %v", b.Linger)
	case b.Bytes < 0, b.Records < 0, b.MaxRecords < 0:
		return invalidError(op, "bounds of batching must not be negative")
	case b.Bytes > c.bufferBytes:
		return invalidError(op, "the %d bytes that batching waits for are more than the buffer's %d",
			b.Bytes, c.bufferBytes)
	case b.Linger > c.deliveryTimeout-c.answerTimeout:
		return invalidError(op, "the linger %v leaves less than the answer timeout %v of the "+
			"delivery timeout %v", b.Linger, c.answerTimeout, c.deliveryTimeout)
	}
	return nil
}

// waits reports whether records wait at all.
func (b *Batching) waits() bool { return b.Linger > 0 || b.Bytes > 0 || b.Records > 0 }

// held is what waits for others in a producer, at the ends of its lanes' queues. Guarded by the
// producer's lock.
type held struct {
	lanes          []*lane
	bytes, records int
	// oldest is since when the first of them waits, longest for how long it may.
	oldest  time.Time
	longest time.Duration
	// hurried counts those who wait for what waits here: to flush, or for memory. Nothing waits then.
	hurried int
	// timer is nil until something has waited. It is not stopped when what it was set for is sent, but
	// set again when it finds that.
	timer *time.Timer
	armed bool
}

// hold has the record that was queued last wait for others, or sends it with all that wait. The
// caller holds the lock.
func (p *Producer) hold(l *lane, s *pending) {
	b, h := &p.config.batching, &p.held
	l.heldBytes += s.size
	if l.held++; l.held == 1 {
		h.lanes = append(h.lanes, l)
	}
	h.bytes += s.size
	if h.records++; h.records == 1 {
		h.oldest = time.Now() // not s.since: it may have waited for memory
	}
	switch {
	case h.hurried > 0, b.Bytes > 0 && h.bytes >= b.Bytes, b.Records > 0 && h.records >= b.Records:
		p.letGo()
	case !h.armed:
		h.armed = true
		p.lingerFor(h.longest)
	}
}

// letGo sends all that waits. The caller holds the lock.
func (p *Producer) letGo() {
	for _, l := range p.held.lanes {
		l.bytes += l.heldBytes
		l.held, l.heldBytes = 0, 0
		p.list(l)
	}
	clear(p.held.lanes) // a topic may be gone before so many lanes wait again
	p.held.lanes, p.held.bytes, p.held.records = p.held.lanes[:0], 0, 0
}

// hurry has nothing wait until the function that it returns is called.
func (p *Producer) hurry() (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held.hurried++
	p.letGo()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.held.hurried--
	}
}

func (p *Producer) lingerFor(d time.Duration) {
	if p.held.timer == nil {
		p.held.timer = time.AfterFunc(d, p.lingered)
	} else {
		p.held.timer.Reset(d)
	}
}

// lingered sends what has waited for as long as it may.
func (p *Producer) lingered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &p.held
	h.armed = false
	if h.records == 0 || p.ctx.Err() != nil {
		return
	}
	if rest := h.longest - time.Since(h.oldest); rest > 0 {
		h.armed = true
		p.lingerFor(rest)
		return
	}
	p.letGo()
}
