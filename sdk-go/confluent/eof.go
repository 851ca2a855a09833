package kafka

import (
	"context"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const (
	// idleAfter is how long nothing comes before partitions are asked whether they are at their
	// end, and busyAfter how often that is while messages come.
	idleAfter = 20 * time.Millisecond
	busyAfter = 250 * time.Millisecond
	// askLimit bounds that question.
	askLimit = 5 * time.Second
)

// endsAreDue reports whether it is time to ask whether partitions are at their end.
func (c *Consumer) endsAreDue() bool {
	if !c.s.consumer.eof {
		return false
	}
	c.mu.Lock()
	heard, looked := time.Since(c.heard), time.Since(c.looked)
	c.mu.Unlock()
	return (looked >= busyAfter || heard >= idleAfter && looked >= idleAfter) && c.mayBeAtEnd()
}

// untilIdle shortens a wait, for a consumer that is to tell of the ends of partitions.
func (c *Consumer) untilIdle(ctx context.Context) (context.Context, context.CancelFunc) {
	if !c.s.consumer.eof || !c.mayBeAtEnd() {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, idleAfter)
}

// mayBeAtEnd reports whether there is a partition whose end was not told where it is now.
func (c *Consumer) mayBeAtEnd() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.parts {
		if p.assigned && !p.paused && p.next >= 0 && p.end != p.next {
			return true
		}
	}
	return false
}

// lookForEnds asks for the ends of partitions, and tells of those that are reached.
func (c *Consumer) lookForEnds() {
	c.mu.Lock()
	c.looked = time.Now()
	var queries []ropewalk.OffsetQuery
	for _, p := range c.parts {
		if p.assigned && !p.paused && p.next >= 0 && p.end != p.next {
			queries = append(queries, ropewalk.QueryLatest(p.at.Topic, p.at.Partition))
		}
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.ctx, askLimit)
	defer cancel()
	admin, err := c.admin(ctx)
	if err != nil || len(queries) == 0 {
		return
	}
	latest, err := admin.ListOffsets(ctx, queries...)
	if err != nil {
		c.log.Debug("ends of partitions could not be asked for", "error", err)
		return
	}
	for _, l := range latest {
		c.mu.Lock()
		p := c.parts[l.TopicPartition]
		reached := p != nil && p.assigned && !p.paused && p.next >= l.Offset && p.end != p.next
		if reached {
			p.end = p.next
		}
		c.bounds[l.TopicPartition] = watermarks{c.lowOf(l.TopicPartition), l.Offset}
		c.mu.Unlock()
		if reached {
			c.tell(PartitionEOF(partitionAt(l.TopicPartition, Offset(l.Offset))))
		}
	}
}

// lowOf is the low watermark that is known; the caller holds the lock.
func (c *Consumer) lowOf(at ropewalk.TopicPartition) int64 {
	if b, known := c.bounds[at]; known {
		return b.low
	}
	return int64(OffsetInvalid)
}
