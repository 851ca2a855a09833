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
	// seldom is how often it is at last, while nothing comes and the end is not reached.
	seldom = time.Second
	// askLimit bounds that question.
	askLimit = 5 * time.Second
)

// watchEnds tells of the ends of partitions that are reached. It runs beside those who poll, who
// wait for no broker because of it.
func (c *Consumer) watchEnds() {
	var looked time.Time
	pause := idleAfter
	for {
		var later <-chan time.Time
		if c.mayBeAtEnd() {
			later = time.After(pause)
		}
		select {
		case <-later:
		case <-c.moved:
			pause = idleAfter
			select { // a moment, so that it is not for each message
			case <-time.After(idleAfter):
			case <-c.running.Done():
				return
			}
		case <-c.running.Done():
			return
		}
		c.mu.Lock()
		heard := c.heard
		c.mu.Unlock()
		if time.Since(heard) < idleAfter && time.Since(looked) < busyAfter || !c.mayBeAtEnd() {
			continue
		}
		looked = time.Now()
		c.lookForEnds()
		// The last records of a partition can be gone: then its end is not reached before more
		// come.
		pause = min(2*pause, seldom)
	}
}

// hasMoved has watchEnds look, and whoever polls look for what was held back. It is to be called
// wherever endIsWanted or reads may become true: also by an assignment, a seek or a resume, as
// there may be no message to come. The caller holds the lock.
func (c *Consumer) hasMoved() {
	c.mayHold = true
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// mayBeAtEnd reports whether there is a partition whose end was not told where it is now.
func (c *Consumer) mayBeAtEnd() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.parts {
		if p.endIsWanted() {
			return true
		}
	}
	return false
}

func (p *part) endIsWanted() bool { return p.reads() && p.next >= 0 && p.end != p.next }

// lookForEnds asks for the ends of partitions, and tells of those that are reached.
func (c *Consumer) lookForEnds() {
	var asked []ropewalk.TopicPartition
	c.mu.Lock()
	for at, p := range c.parts {
		if p.endIsWanted() {
			asked = append(asked, at)
		}
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.running, askLimit)
	defer cancel()
	admin, err := c.admin(ctx)
	if err == nil {
		err = eachOffset(ctx, admin, len(asked), func(i int) ropewalk.OffsetQuery {
			return ropewalk.QueryLatest(asked[i].Topic, asked[i].Partition)
		}, func(i int, found ropewalk.PartitionOffset, err error) {
			if err != nil {
				c.log.Debug("the end of a partition is not known", "topic", asked[i].Topic,
					"partition", asked[i].Partition, "error", err)
				return
			}
			c.endIs(asked[i], found.Offset)
		})
	}
	if err != nil {
		c.log.Debug("ends of partitions could not be asked for", "error", err)
	}
}

// endIs tells that a partition is at its end, if it is.
func (c *Consumer) endIs(at ropewalk.TopicPartition, end int64) {
	c.mu.Lock()
	p := c.parts[at]
	reached := p != nil && p.endIsWanted() && p.next == end
	if reached {
		p.end = p.next
	}
	c.bounds[at] = watermarks{c.lowOf(at), end}
	c.mu.Unlock()
	if reached {
		c.tell(PartitionEOF(partitionAt(at, Offset(end))))
	}
}

// lowOf is the low watermark that is known; the caller holds the lock.
func (c *Consumer) lowOf(at ropewalk.TopicPartition) int64 {
	if b, known := c.bounds[at]; known {
		return b.low
	}
	return int64(OffsetInvalid)
}
