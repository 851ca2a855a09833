package sarama

import (
	"errors"
	"reflect"
	"testing"
)

// What is told of a member is in the form that Kafka's tools read.
func TestMembersInKafkasForm(t *testing.T) {
	wire := encodeAssignment(map[string][]int32{"a": {0, 2}})
	want := []byte("\x00\x00\x00\x00\x00\x01\x00\x01a" +
		"\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x02\xff\xff\xff\xff")
	if string(wire) != string(want) {
		t.Errorf("encoded as %q, want %q", wire, want)
	}
	member := &GroupMemberDescription{
		MemberAssignment: encodeAssignment(map[string][]int32{"a": {0, 2}, "b": {}}),
		MemberMetadata:   encodeMetadata([]string{"b", "a"}, []byte("mine")),
	}
	assignment, err := member.GetMemberAssignment()
	if err != nil || !reflect.DeepEqual(assignment.Topics, map[string][]int32{"a": {0, 2}, "b": {}}) {
		t.Errorf("assignment %+v, %v", assignment, err)
	}
	metadata, err := member.GetMemberMetadata()
	if err != nil || !reflect.DeepEqual(metadata.Topics, []string{"b", "a"}) ||
		string(metadata.UserData) != "mine" {
		t.Errorf("metadata %+v, %v", metadata, err)
	}
	for n := 1; n < len(member.MemberAssignment); n++ {
		cut := &GroupMemberDescription{MemberAssignment: member.MemberAssignment[:n]}
		if _, err := cut.GetMemberAssignment(); !errors.Is(err, ErrInsufficientData) {
			t.Errorf("cut after %d: %v", n, err)
		}
	}
	assignment, err = new(GroupMemberDescription).GetMemberAssignment()
	if assignment != nil || err != nil {
		t.Errorf("of nothing: %v, %v", assignment, err)
	}
}

func TestOffsetsOfGroupsByVersion(t *testing.T) {
	block := &OffsetFetchResponseBlock{Offset: 7}
	for version, groups := range map[int16]int{7: 0, 8: 1} {
		response := &OffsetFetchResponse{Version: version, Err: ErrUnknown}
		response.AddGroupBlock("g", "t", 0, block)
		if len(response.Groups) != groups || response.GetBlock("t", 0) != block {
			t.Errorf("version %d: %+v", version, response)
		}
		ofGroup := response.GetGroupBlock("g", "t", 0)
		if response.GetBlock("t", 1) != nil || (ofGroup != nil) != (groups == 1) {
			t.Errorf("version %d tells of what it has not", version)
		}
		if isOwn := response.GroupError() == ErrUnknown; isOwn != (groups == 0) {
			t.Errorf("version %d: error %v", version, response.GroupError())
		}
	}
}
