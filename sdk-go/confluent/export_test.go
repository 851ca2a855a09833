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
