package kafka

import (
	"bytes"
	"runtime"
	"strconv"
)

// takeTurn waits until nobody polls, and nobody else changes what is read.
func (c *Consumer) takeTurn() (leave func()) {
	c.mu.Lock()
	c.wanting++
	if c.stop != nil {
		c.stop()
	}
	c.mu.Unlock()
	c.turn <- struct{}{}
	c.mu.Lock()
	c.wanting--
	c.mu.Unlock()
	return func() { <-c.turn }
}

// enter takes the turn for a call that changes what is read. The goroutine that runs a callback has
// it already. After Close it fails, also where Close came while it waited; only the callback that
// Close itself runs may go on.
func (c *Consumer) enter() (leave func(), err error) {
	if c.inCallback() {
		return func() {}, nil
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	leave = c.takeTurn()
	if err := c.check(); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// usable refuses calls after Close, but of the callback that Close has told.
func (c *Consumer) usable() error {
	if c.closed.Load() && !c.inCallback() {
		return closedError()
	}
	return nil
}

// IsClosed reports whether Close has been called. In the callback that Close runs it is false.
func (c *Consumer) IsClosed() bool { return c.usable() != nil }

// notInCallback refuses what a callback may not do.
func (c *Consumer) notInCallback(what string) error {
	if c.inCallback() {
		return errorf(ErrState, "%s must not be called while a rebalance callback runs", what)
	}
	return nil
}

// inCallback reports whether the caller is the goroutine that runs a callback, at the moment.
//
// A callback calls the same methods of the same consumer as everybody else, often of a variable
// that it closes over: nothing but the goroutine tells its calls from others. So its number is kept
// while a callback runs, and only as long are callers asked for theirs.
func (c *Consumer) inCallback() bool {
	runner := c.runner.Load()
	return runner != 0 && runner == goroutine()
}

// goroutine is the number of the goroutine that calls it. The runtime has no function for that, but
// every stack trace begins with it, as in "goroutine 18 [running]:".
func goroutine() uint64 {
	var buf [64]byte
	text := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(text, []byte(" "))
	n, _ := strconv.ParseUint(string(number), 10, 64) // a test sees that it is one
	return n
}
