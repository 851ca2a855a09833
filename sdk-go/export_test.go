package ropewalk

// JoinedMember is the member as which a broker knows this one, or "".
func (g *GroupConsumer) JoinedMember() string { return g.joinedMember() }
