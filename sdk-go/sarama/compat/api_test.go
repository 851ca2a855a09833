package compat_test

import (
	_ "embed"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/sarama/compat"
	"github.com/ropewalk/ropewalk/sdk-go/sarama/compat/surface"
)

//go:embed allowed.txt
var allowed string

// What sarama exports is here too, and is the same, but for what allowed.txt names with a reason.
func TestTheSamePackage(t *testing.T) {
	const theirs, ours = compat.Theirs, compat.Ours
	found, err := surface.Load(theirs, ours, theirs+"/mocks", ours+"/mocks")
	if err != nil {
		t.Fatal(err)
	}
	all := surface.Compare(found[ours], found[theirs])
	for _, d := range surface.Compare(found[ours+"/mocks"], found[theirs+"/mocks"]) {
		d.Name = "mocks " + d.Name
		all = append(all, d)
	}
	allowances := surface.Allowances(allowed)
	for _, a := range allowances {
		if a.Reason == "" {
			t.Errorf("allowed.txt: %s has no reason", a.Pattern)
		}
	}
	rest, idle := surface.Sift(all, allowances)
	for _, d := range rest {
		t.Error(d)
	}
	for _, a := range idle {
		t.Errorf("allowed.txt: %s matches nothing any more", a.Pattern)
	}
	t.Logf("%d names of sarama; %d differ, %d of them allowed",
		len(found[theirs])+len(found[theirs+"/mocks"]), len(all), len(all)-len(rest))
	if testing.Verbose() {
		for _, d := range all {
			t.Log(strings.TrimSpace(d.String()))
		}
	}
}
