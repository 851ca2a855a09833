package kafka

import (
	"context"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// To have a member read nothing of a partition takes another stream, for which all that was read
// ahead of all partitions comes again. So what comes of a partition that is paused is held back, up
// to these bounds; only then is it not read any more. Most pauses are over before.
const (
	mostHeld      = 1000
	mostHeldBytes = 1 << 20
)

// While records that were held back are handed out, the member is asked too, so often and for so
// long at most: it sees rebalances then, and lost connections. Where it has something to give back,
// which takes a call, it has longer, once.
const (
	lookEvery   = 100 * time.Millisecond
	lookFor     = 10 * time.Millisecond
	giveBackFor = time.Second
)

// nextOf takes a record that was held back, or else waits for one of the member.
func (c *Consumer) nextOf(ctx context.Context, m *membership) (*ropewalk.Record, error) {
	waits := c.heldWaits()
	if waits && time.Since(c.looked) < lookEvery {
		return c.takeHeld(), nil
	}
	if waits {
		limit := lookFor
		if c.givingBack {
			limit = giveBackFor
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	c.givingBack = false
	record, err := m.next(ctx)
	c.looked = time.Now()
	if err != nil || record != nil && !c.holdBack(record) {
		return record, err
	}
	return c.takeHeld(), nil
}

// holdBack keeps a record that has come of a partition that is paused, or of which others that were
// held back come first. It reports whether it did.
func (c *Consumer) holdBack(r *ropewalk.Record) bool {
	c.mu.Lock()
	p := c.parts[ropewalk.TopicPartition{Topic: r.Topic, Partition: r.Partition}]
	if p == nil || !p.flows() || !p.paused && len(p.held) == 0 {
		c.mu.Unlock()
		return false
	}
	full := p.hold(r)
	c.mu.Unlock()
	if full {
		c.settleFlow()
	}
	return true
}

// hold keeps a record; it reports true when that was too much. Then nothing is held: it is read
// again, later or, of a partition that is not paused, at once. Of that one may come for each that
// goes, and be larger. The caller holds the lock, and settles the flow.
func (p *part) hold(r *ropewalk.Record) (full bool) {
	p.held, p.heldBytes = append(p.held, r), p.heldBytes+bytesOf(r)
	room := 1
	if !p.paused {
		room = 2
	}
	full = len(p.held) > room*mostHeld || p.heldBytes > room*mostHeldBytes
	if full {
		p.dropHeld()
		p.holds, p.flowing = false, p.flowing && p.paused
	}
	return full
}

func bytesOf(r *ropewalk.Record) int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

func (p *part) dropHeld() { p.held, p.heldBytes = nil, 0 }

// heldWaits reports whether there is a record that was held back, of a partition that is read.
func (c *Consumer) heldWaits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holder() != nil
}

// takeHeld takes such a record, if there is one.
func (c *Consumer) takeHeld() *ropewalk.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.holder()
	if p == nil {
		return nil
	}
	r := p.held[0]
	p.held[0], p.held, p.heldBytes = nil, p.held[1:], p.heldBytes-bytesOf(r)
	if len(p.held) == 0 {
		p.dropHeld()
	}
	return r
}

// holder is a partition that is read again, and of which records were held back. The caller holds
// the lock.
func (c *Consumer) holder() *part {
	if !c.mayHold {
		return nil
	}
	for _, p := range c.parts {
		if len(p.held) > 0 && p.reads() {
			return p
		}
	}
	c.mayHold = false
	return nil
}

// flows reports whether the member is to bring records of a partition.
func (p *part) flows() bool { return p.assigned && !p.pending && (!p.paused || p.holds) }
