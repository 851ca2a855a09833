package ropewalk_test

import (
	"slices"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Whoever places records by hand learns of a topic's partitions, and of those that have a leader.
func TestLayout(t *testing.T) {
	eachBroker(t, func(t *testing.T, client *ropewalk.Client) {
		ctx := testContext(t)
		_, err := client.Admin().CreateTopic(ctx, "t", 3, ropewalk.Timestamps(ropewalk.TimestampAppend))
		if err != nil {
			t.Fatal(err)
		}
		layout, err := client.Layout(ctx, "t")
		if err != nil || layout.Partitions != 3 || layout.TimestampType != ropewalk.TimestampAppend ||
			!slices.Equal(layout.Led, []int32{0, 1, 2}) {
			t.Errorf("got %+v, %v", layout, err)
		}
		if layout, err = client.Layout(ctx, "first used"); err == nil {
			t.Errorf("a name that is not valid has a layout: %+v", layout)
		}
	})
}

// A partition without a leader is left out until it has one, though nothing is sent there.
func TestLayoutOfPartitionsWithoutALeader(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	ctx := testContext(t)
	if _, err := client.Admin().CreateTopic(ctx, "t", 3); err != nil {
		t.Fatal(err)
	}
	awaitLed := func(want ...int32) {
		t.Helper()
		for limit := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			layout, err := client.Layout(ctx, "t")
			if err != nil {
				t.Fatal(err)
			}
			if slices.Equal(layout.Led, want) {
				return
			}
			if time.Now().After(limit) {
				t.Fatalf("%v are led, want %v", layout.Led, want)
			}
		}
	}
	lead := func(partition int32, broker uint64) {
		t.Helper()
		if err := server.Lead("t", partition, broker); err != nil {
			t.Fatal(err)
		}
	}
	lead(1, 0)
	awaitLed(0, 2)
	lead(1, 1)
	awaitLed(0, 1, 2)
}

// Where no leader is known, no partition is left out.
func TestLayoutWithoutAnyLeader(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	ctx := testContext(t)
	if _, err := client.Admin().CreateTopic(ctx, "t", 2); err != nil {
		t.Fatal(err)
	}
	for partition := range int32(2) {
		if err := server.Lead("t", partition, 0); err != nil {
			t.Fatal(err)
		}
	}
	layout, err := client.Layout(ctx, "t")
	if err != nil || !slices.Equal(layout.Led, []int32{0, 1}) {
		t.Errorf("got %+v, %v", layout, err)
	}
}

// A program that knows of a change has the client ask for the topic, rather than wait until what the
// client knows is old.
func TestRefreshTopics(t *testing.T) {
	server := newServer(t)
	client, admin := dial(t, server.Address()), dial(t, server.Address()).Admin()
	ctx := testContext(t)
	if _, err := admin.CreateTopic(ctx, "t", 1); err != nil {
		t.Fatal(err)
	}
	expect := func(want int32, refresh error) {
		t.Helper()
		layout, err := client.Layout(ctx, "t")
		if err != nil || refresh != nil || layout.Partitions != want {
			t.Errorf("%d partitions, want %d: %v, %v", layout.Partitions, want, err, refresh)
		}
	}
	expect(1, nil)
	if _, err := admin.AddPartitions(ctx, "t", 2); err != nil {
		t.Fatal(err)
	}
	expect(1, client.RefreshTopics(ctx, time.Hour, "t"))
	expect(2, client.RefreshTopics(ctx, 0, "t", "not-known"))
	if _, err := admin.AddPartitions(ctx, "t", 3); err != nil {
		t.Fatal(err)
	}
	expect(3, client.RefreshTopics(ctx, 0))
}
