package ropewalktest_test

import (
	"testing"

	"go.uber.org/goleak"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A program's test, with a broker of its own that is restarted meanwhile.
func TestRecordsAreThereAfterARestart(t *testing.T) {
	broker := ropewalktest.Start(t, ropewalktest.WithFlags("--default-partitions=3"))
	client, err := ropewalk.Dial(t.Context(), []string{broker.Address})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	producer, err := client.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	send := func(value string) {
		record := &ropewalk.Record{Topic: "greetings", Key: []byte("key"), Value: []byte(value)}
		if _, err := producer.Send(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	send("before")
	broker.Stop()
	broker.Run()
	send("after")

	consumer, err := client.NewConsumer(t.Context(), ropewalk.WithTopics("greetings"),
		ropewalk.WithStop(ropewalk.StopCaughtUp()))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	var found []string
	for record, err := range consumer.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, string(record.Value))
	}
	if len(found) != 2 || found[0] != "before" || found[1] != "after" {
		t.Errorf("found %q", found)
	}
	if err := producer.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkStart is how long a test waits for its broker.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		broker := ropewalktest.Start(b)
		b.StopTimer()
		broker.Kill()
		b.StartTimer()
	}
}
