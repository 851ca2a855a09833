package kafka

import (
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// An automatic commit does not go backwards, and leaves out the message that the program is at.
func TestPendingOfAutomaticCommit(t *testing.T) {
	at := ropewalk.TopicPartition{Topic: "t"}
	offset := func(n int64) ropewalk.CommittedOffset {
		return ropewalk.CommittedOffset{TopicPartition: at, Offset: n}
	}
	for name, test := range map[string]struct {
		stored        []int64
		committed     int64
		last          int64
		automatic     int64 // what is committed; below 0: nothing
		byTheirWishes int64
	}{
		"nothing is stored":           {nil, -1, -1, -1, -1},
		"the first message":           {[]int64{1}, -1, 0, -1, 1},
		"the message that is at hand": {[]int64{1, 2}, -1, 1, 1, 2},
		"it was asked for more":       {[]int64{1, 2}, -1, -1, 2, 2},
		"all of it is committed":      {[]int64{1, 2}, 2, -1, -1, -1},
		"more is committed":           {[]int64{1, 2}, 9, -1, -1, 2},
		"what was before is":          {[]int64{1, 2}, 1, 1, -1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPart(at)
			p.committed = test.committed
			for _, n := range test.stored {
				p.store(offset(n))
			}
			c := &Consumer{}
			if test.last >= 0 {
				c.last = &ropewalk.Record{Topic: "t", Offset: test.last}
			}
			for automatic, want := range map[bool]int64{
				true: test.automatic, false: test.byTheirWishes,
			} {
				got := int64(-1)
				if list := c.pendingOf([]*part{p}, automatic); len(list) > 0 {
					got = list[0].Offset
				}
				if got != want {
					t.Errorf("automatic %v: %d is committed, want %d", automatic, got, want)
				}
			}
		})
	}
}

// What is read ahead of many partitions is bounded together.
func TestReadAhead(t *testing.T) {
	s := defaultSettings().consumer
	for partitions, most := range map[int]int{
		1: 64 << 20, 10: 64 << 20, 100: 128 << 20, 1000: 128 << 20,
	} {
		fetches, bytes := s.readAhead(partitions)
		total := partitions * (fetches + 1) * bytes
		if total > most || fetches < 1 || bytes < leastFetch {
			t.Errorf("%d partitions: %d fetches of %d bytes", partitions, fetches, bytes)
		}
	}
	if fetches, bytes := s.readAhead(3); fetches != 4 || bytes != 1<<20 {
		t.Errorf("few partitions have %d fetches of %d bytes", fetches, bytes)
	}
}

// Partitions of which nothing is stored go without waiting for a commit that has no answer yet.
func TestNothingToCommitWaitsForNobody(t *testing.T) {
	s := defaultSettings()
	s.requestTimeout = time.Hour
	c := &Consumer{handle: &handle{s: s, ctx: t.Context()}, committing: make(chan struct{}, 1)}
	c.committing <- struct{}{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.commitStored([]*part{newPart(ropewalk.TopicPartition{Topic: "t"})})
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("it waits")
		<-c.committing
		<-done
	}
}

// What has gone already is not told of again when the group says that it is lost, as where the
// answer to giving it back was lost.
func TestLossOfWhatHasGone(t *testing.T) {
	there := newPart(ropewalk.TopicPartition{Topic: "t", Partition: 1})
	told := 0
	c := &Consumer{
		handle: &handle{s: defaultSettings(), ctx: t.Context()},
		parts:  map[ropewalk.TopicPartition]*part{there.at: there}, moved: make(chan struct{}, 1),
		callback: func(*Consumer, Event) error { told++; return nil },
	}
	gone := ropewalk.Position{TopicPartition: ropewalk.TopicPartition{Topic: "t"}}
	c.onLost(t.Context(), []ropewalk.Position{gone})
	if told > 0 {
		t.Errorf("it was told %d times", told)
	}
}
