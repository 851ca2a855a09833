package kafka

import ropewalk "github.com/ropewalk/ropewalk/sdk-go"

// To have a member read nothing of a partition takes another stream, for which all that was read
// ahead of all partitions comes again. So what comes of a partition that is paused is held back, up
// to these bounds; only then is it not read any more. Most pauses are over before.
const (
	mostHeld      = 1000
	mostHeldBytes = 1 << 20
)

// hold keeps a record of a partition that is paused; it reports true when that was too much. Then
// nothing is held: it is read again later. The caller holds the lock.
func (p *part) hold(r *ropewalk.Record) (full bool) {
	p.held, p.heldBytes = append(p.held, r), p.heldBytes+len(r.Key)+len(r.Value)
	for _, h := range r.Headers {
		p.heldBytes += len(h.Key) + len(h.Value)
	}
	if full = len(p.held) > mostHeld || p.heldBytes > mostHeldBytes; full {
		p.dropHeld()
		p.holds = false
	}
	return full
}

func (p *part) dropHeld() { p.held, p.heldBytes = nil, 0 }

// takeHeld takes a record that was held back, of a partition that is read again.
func (c *Consumer) takeHeld() *ropewalk.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.someHeld {
		return nil
	}
	left := false
	for _, p := range c.parts {
		if len(p.held) == 0 {
			continue
		}
		if left = true; p.reads() {
			r := p.held[0]
			if p.held = p.held[1:]; len(p.held) == 0 {
				p.dropHeld()
			}
			return r
		}
	}
	c.someHeld = left
	return nil
}

// flows reports whether the member is to bring records of a partition.
func (p *part) flows() bool { return p.assigned && !p.pending && (!p.paused || p.holds) }
