package kafka

// Goroutine is goroutine.
var Goroutine = goroutine

// Waiting is how many calls wait for the turn.
func (c *Consumer) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanting
}

// Asking reports whether the core is being asked to take the oldest message that is not reported.
func (p *Producer) Asking() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open.first != nil && p.open.first.handing
}

// SeekLater is Seek while no broker answers: the place is found in the background.
func (c *Consumer) SeekLater(at TopicPartition) {
	leave := c.takeTurn()
	defer leave()
	c.seekLater(c.named([]TopicPartition{at})[0], at.Offset)
	c.settleFlow()
}

// Held is how many messages are held back.
func (c *Consumer) Held() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := 0
	for _, p := range c.parts {
		held += len(p.held)
	}
	return held
}

// Looking reports whether something looks in the background where partitions begin.
func (c *Consumer) Looking() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looking
}

// StoredOfNow reports whether what is stored of a partition counts only for this time that the
// consumer has it.
func (c *Consumer) StoredOfNow(at TopicPartition) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parts[at.place()]
	return p.isOf(*p.stored)
}

// Next is the next offset of a partition; below 0 where that is not known.
func (c *Consumer) Next(at TopicPartition) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parts[at.place()].next
}

// SeekChosen is Seek while no broker answers, of a partition that the program has chosen: its
// reader finds the place.
func (c *Consumer) SeekChosen(at TopicPartition) {
	leave := c.takeTurn()
	defer leave()
	c.seekTo(c.named([]TopicPartition{at})[0], at.Offset)
}

// Waits reports whether messages wait to be handed to the core, and queued is how many of them
// nobody is at yet.
func (p *Producer) Waits() (queued int, waits bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, box := range p.boxes {
		queued, waits = queued+len(box.queue), waits || box.running
	}
	return queued, waits
}
