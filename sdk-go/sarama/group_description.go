package sarama

import (
	"encoding/binary"
	"maps"
	"slices"
)

// GroupDescription describes a consumer group.
type GroupDescription struct {
	// Version is that of Kafka's message.
	Version int16
	// Err is ErrNoError, or why there is no description, and ErrorCode its number.
	Err       KError
	ErrorCode int16
	// GroupId is the group's name.
	GroupId string
	// State is Stable, PreparingRebalance, Empty, or Dead for one that there is not.
	State string
	// ProtocolType is consumer.
	ProtocolType string
	// Protocol is the name of the strategy by which partitions are assigned.
	Protocol string
	// Members are the members by their ids.
	Members map[string]*GroupMemberDescription
	// AuthorizedOperations is 0: there are no access control lists.
	AuthorizedOperations int32
}

// GroupMemberDescription describes a member of a consumer group.
type GroupMemberDescription struct {
	// Version is that of Kafka's message.
	Version int16
	// MemberId is the member's id.
	MemberId string
	// GroupInstanceId is the name of a static member; nil for any other.
	GroupInstanceId *string
	// ClientId is what the member calls itself, and ClientHost where it connects from.
	ClientId   string
	ClientHost string
	// MemberMetadata is what the member reads, for GetMemberMetadata.
	MemberMetadata []byte
	// MemberAssignment is what the member has, for GetMemberAssignment.
	MemberAssignment []byte
}

// GetMemberAssignment returns what the member has. It fails with ErrInsufficientData when
// MemberAssignment does not hold together.
func (gmd *GroupMemberDescription) GetMemberAssignment() (*ConsumerGroupMemberAssignment, error) {
	if len(gmd.MemberAssignment) == 0 {
		return nil, nil
	}
	r := shareReader{rest: gmd.MemberAssignment}
	assignment := &ConsumerGroupMemberAssignment{
		Version: int16(binary.BigEndian.Uint16(r.take(2))), Topics: map[string][]int32{},
	}
	for range r.count(6) {
		topic := r.text()
		partitions := make([]int32, 0)
		for range r.count(4) {
			partitions = append(partitions, r.number())
		}
		assignment.Topics[topic] = partitions
	}
	assignment.UserData = r.data()
	if r.short {
		return nil, ErrInsufficientData
	}
	return assignment, nil
}

// GetMemberMetadata returns what the member reads. It fails with ErrInsufficientData when
// MemberMetadata does not hold together.
func (gmd *GroupMemberDescription) GetMemberMetadata() (*ConsumerGroupMemberMetadata, error) {
	if len(gmd.MemberMetadata) == 0 {
		return nil, nil
	}
	r := shareReader{rest: gmd.MemberMetadata}
	metadata := &ConsumerGroupMemberMetadata{
		Version: int16(binary.BigEndian.Uint16(r.take(2))),
	}
	for range r.count(2) {
		metadata.Topics = append(metadata.Topics, r.text())
	}
	metadata.UserData = r.data()
	if r.short {
		return nil, ErrInsufficientData
	}
	return metadata, nil
}

// encodeAssignment writes what a member has in the form that Kafka's tools read.
func encodeAssignment(topics map[string][]int32) []byte {
	wire := binary.BigEndian.AppendUint16(nil, 0)
	wire = binary.BigEndian.AppendUint32(wire, uint32(len(topics)))
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		wire = appendText(wire, topic)
		wire = binary.BigEndian.AppendUint32(wire, uint32(len(topics[topic])))
		for _, partition := range topics[topic] {
			wire = binary.BigEndian.AppendUint32(wire, uint32(partition))
		}
	}
	return binary.BigEndian.AppendUint32(wire, absent)
}

// encodeMetadata does that for what a member reads.
func encodeMetadata(topics []string, userData []byte) []byte {
	wire := binary.BigEndian.AppendUint16(nil, 0)
	wire = binary.BigEndian.AppendUint32(wire, uint32(len(topics)))
	for _, topic := range topics {
		wire = appendText(wire, topic)
	}
	if userData == nil {
		return binary.BigEndian.AppendUint32(wire, absent)
	}
	return append(binary.BigEndian.AppendUint32(wire, uint32(len(userData))), userData...)
}

// absent is the length of bytes that are not there: -1.
const absent = 1<<32 - 1

func appendText(wire []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(wire, uint16(len(text))), text...)
}

func (r *shareReader) text() string {
	return string(r.take(int(binary.BigEndian.Uint16(r.take(2)))))
}

// data reads bytes that may be absent.
func (r *shareReader) data() []byte {
	n := int(r.number())
	if n < 0 {
		r.short = r.short || n != -1
		return nil
	}
	return r.take(n)
}
