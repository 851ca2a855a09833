package ropewalk

// JoinedMember is the member as which a broker knows this one, or "".
func (g *GroupConsumer) JoinedMember() string { return g.joinedMember() }

// StreamsBesideCalls is how many streams are on the connection that carries the calls, or wait for
// it.
func (c *Client) StreamsBesideCalls() int {
	s := c.conn.(*connSet)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first.streams
}
