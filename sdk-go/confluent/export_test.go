package kafka

// Asking reports whether the core is being asked to take the oldest message that is not reported.
func (p *Producer) Asking() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open.first != nil && p.open.first.handing
}
