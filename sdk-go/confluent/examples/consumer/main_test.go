package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stopping ends the program once it has said so many lines.
type stopping struct {
	lines []string
	most  int
	stop  context.CancelFunc
}

func (s *stopping) Write(line []byte) (int, error) {
	if s.lines = append(s.lines, string(line)); len(s.lines) == s.most {
		s.stop()
	}
	return len(line), nil
}

func TestConsumer(t *testing.T) {
	broker := ropewalktest.Start(t)
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	client, err := ropewalk.Dial(ctx, []string{broker.Address})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	producer, err := client.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"myTopic", "aRegexTopic", "other"} {
		record := &ropewalk.Record{Topic: topic, Value: []byte("in " + topic)}
		if _, err := producer.Send(ctx, record); err != nil {
			t.Fatal(err)
		}
	}
	out := &stopping{most: 2, stop: stop}
	err = run(ctx, out, broker.Address, "myGroup", []string{"myTopic", "^aRegex.*[Tt]opic"})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out.lines)
	want := "Message on aRegexTopic[0]@0: in aRegexTopic\nMessage on myTopic[0]@0: in myTopic\n"
	if strings.Join(out.lines, "") != want {
		t.Errorf("it says:\n%s", strings.Join(out.lines, ""))
	}
}
