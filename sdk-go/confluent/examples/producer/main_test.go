package main

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProducer(t *testing.T) {
	broker := ropewalktest.Start(t)
	var out strings.Builder
	if err := run(&out, broker.Address, []string{"Welcome", "to", "the", "client"}); err != nil {
		t.Fatal(err)
	}
	want := "Delivered message to myTopic[0]@0\nDelivered message to myTopic[0]@1\n" +
		"Delivered message to myTopic[0]@2\nDelivered message to myTopic[0]@3\n"
	if out.String() != want {
		t.Errorf("it says:\n%s", &out)
	}
}
