package ropewalk_test

import (
	"errors"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// A group whose only member was closed is empty: it can be deleted at once, with what the member
// committed when it was closed. A static member is waited for.
func TestClosedMemberHasGone(t *testing.T) {
	client := dial(t, ropewalktest.Start(t).Address)
	fillPartitions(t, client, 1, 1)
	for range 10 {
		member := join(t, client)
		if _, err := member.Next(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if err := member.Close(); err != nil {
			t.Fatal(err)
		}
		if err := client.Admin().DeleteGroup(testContext(t), "g"); err != nil {
			t.Fatal(err)
		}
	}
	member := join(t, client, ropewalk.GroupInstance("a"))
	if err := member.Close(); err != nil {
		t.Fatal(err)
	}
	err := client.Admin().DeleteGroup(testContext(t), "g")
	if !errors.Is(err, ropewalk.ReasonGroupNotEmpty) {
		t.Errorf("a static member is not waited for: %v", err)
	}
}
