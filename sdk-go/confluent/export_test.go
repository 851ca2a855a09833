package kafka

// Goroutine is goroutine.
var Goroutine = goroutine

// Waiting is how many calls wait for the turn.
func (c *Consumer) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanting
}
