package main

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAdmin(t *testing.T) {
	broker := ropewalktest.Start(t)
	var out strings.Builder
	for range 2 {
		if err := run(&out, broker.Address, "myTopic", 3, 1); err != nil {
			t.Fatal(err)
		}
	}
	shown := "ResourceResult(TOPIC, myTopic, 30 config(s)) retention.ms=\"86400000\"\n" +
		"1 brokers, 3 partitions\n"
	says := out.String()
	if !strings.HasPrefix(says, "myTopic\n"+shown+"myTopic (Broker: Topic ") ||
		!strings.HasSuffix(says, ")\n"+shown) {
		t.Errorf("it says:\n%s", says)
	}
}
