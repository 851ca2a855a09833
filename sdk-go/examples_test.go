package ropewalk_test

import (
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/internal/examplecheck"
)

func TestEachTypeHasAnExample(t *testing.T) {
	examplecheck.Run(t, "github.com/ropewalk/ropewalk/sdk-go",
		examplecheck.Allowed{
			Names:  "GroupMember GroupMove GroupOffset GroupSummary",
			Reason: "parts of a GroupDescription, and of the list of groups: ExampleGroupDescription",
		},
		examplecheck.Allowed{
			Names:  "BatchInfo StreamKind",
			Reason: "parts of what hooks are told: ExampleWithHooks",
		},
		examplecheck.Allowed{
			Names:  "TopicEventKind",
			Reason: "an enumeration: its values are in ExampleTopicEvent",
		},
		examplecheck.Allowed{
			Names:  "PartitionOffset",
			Reason: "what ListOffsets returns: ExampleOffsetQuery",
		},
		examplecheck.Allowed{Names: "Limits", Reason: "a part of a Cluster: numbers to look at"},
	)
}
