package sarama

// GroupGenerationUndefined stands for no generation of a group.
const GroupGenerationUndefined = -1

// ConsumerGroupMetadata says which member of a group has read what a transaction is about.
type ConsumerGroupMetadata struct {
	// GroupID is the name of the group.
	GroupID string
	// GenerationID is the generation that the member is in, or GroupGenerationUndefined.
	GenerationID int32
	// MemberID is the id that the group knows the member by.
	MemberID string
	// GroupInstanceID is the name of a static member; nil for none.
	GroupInstanceID *string
}

// NewConsumerGroupMetadata names a group, and no member.
func NewConsumerGroupMetadata(groupID string) *ConsumerGroupMetadata {
	return &ConsumerGroupMetadata{GroupID: groupID, GenerationID: GroupGenerationUndefined}
}

// NewConsumerGroupMetadataFromSession names the member that has a session; groupInstanceID is nil
// unless it is a static one.
func NewConsumerGroupMetadataFromSession(
	session ConsumerGroupSession, groupID string, groupInstanceID *string,
) *ConsumerGroupMetadata {
	return &ConsumerGroupMetadata{
		GroupID:         groupID,
		GenerationID:    session.GenerationID(),
		MemberID:        session.MemberID(),
		GroupInstanceID: groupInstanceID,
	}
}
