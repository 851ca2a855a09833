package sarama_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func newOffsets(t testing.TB, client sarama.Client) sarama.OffsetManager {
	t.Helper()
	manager, err := sarama.NewOffsetManagerFromClient("g", client)
	if err != nil {
		t.Fatal(err)
	}
	return manager
}

func manage(
	t testing.TB, manager sarama.OffsetManager, partition int32,
) sarama.PartitionOffsetManager {
	t.Helper()
	partitionManager, err := manager.ManagePartition("t", partition)
	if err != nil {
		t.Fatal(err)
	}
	return partitionManager
}

func expectNext(t testing.TB, p sarama.PartitionOffsetManager, offset int64, metadata string) {
	t.Helper()
	if at, with := p.NextOffset(); at != offset || with != metadata {
		t.Errorf("next is %d with %q, want %d with %q", at, with, offset, metadata)
	}
}

// Offsets are marked forward, reset back, committed, and there for whoever comes next.
func TestOffsetManager(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		producer := newProducer(t, addrs, testConfig())
		for range 10 {
			if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
				t.Fatal(err)
			}
		}
		config := testConfig()
		config.Consumer.Offsets.AutoCommit.Enable = false
		client := newClient(t, addrs, config)
		manager := newOffsets(t, client)
		p := manage(t, manager, 0)
		expectNext(t, p, sarama.OffsetNewest, "")
		var wrong sarama.ConfigurationError
		if _, err := manager.ManagePartition("t", 0); !errors.As(err, &wrong) {
			t.Errorf("twice: %v", err)
		}
		p.ResetOffset(3, "nothing is marked yet")
		expectNext(t, p, sarama.OffsetNewest, "")
		p.MarkOffset(5, "five")
		p.MarkOffset(4, "not back")
		p.ResetOffset(6, "not forward")
		expectNext(t, p, 5, "five")
		p.ResetOffset(2, "two")
		expectNext(t, p, 2, "two")
		manager.Commit()
		p.MarkOffset(8, "not committed")
		closing(t, manager)
		if _, open := <-p.Errors(); open {
			t.Error("Errors is open after the end")
		}
		if _, err := manager.ManagePartition("t", 0); !errors.Is(err, sarama.ErrClosedClient) {
			t.Errorf("after Close: %v", err)
		}

		manager = newOffsets(t, client)
		p = manage(t, manager, 0)
		expectNext(t, p, 2, "two")
		p.AsyncClose() // there is nothing to commit
		if err := <-p.Errors(); err != nil {
			t.Error(err)
		}
		manage(t, manager, 0)
		closing(t, manager)
		closing(t, manager)
	})
}

// What is marked is committed from time to time, by Close of its manager, and at once when it is
// closed.
func TestOffsetManagerCommitsByItself(t *testing.T) {
	addrs, core := topicOf(t, 2)
	fill(t, addrs, 2, 10)
	config := testConfig()
	config.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	manager := newOffsets(t, newClient(t, addrs, config))
	first, second := manage(t, manager, 0), manage(t, manager, 1)
	first.MarkOffset(3, "")
	within(t, "it is committed", func() bool {
		_, err := core.Admin().GetGroup(t.Context(), "g")
		return err == nil && committed(t, core, 0) == 3
	})
	closing(t, first)
	second.MarkOffset(4, "")
	closing(t, manager)
	if at := committed(t, core, 1); at != 4 {
		t.Errorf("%d is committed", at)
	}

	config = testConfig()
	config.Consumer.Offsets.AutoCommit.Interval = time.Hour
	manager = newOffsets(t, newClient(t, addrs, config))
	first = manage(t, manager, 0)
	first.MarkOffset(7, "")
	closing(t, first)
	if at := committed(t, core, 0); at != 7 {
		t.Errorf("%d is committed", at)
	}
	closing(t, manager)
}

// An offset that cannot be committed is its partition's error, and holds up no other.
func TestOffsetManagerErrors(t *testing.T) {
	addrs, core := topicOf(t, 3)
	fill(t, addrs, 3, 5)
	config := testConfig()
	config.Consumer.Offsets.AutoCommit.Enable = false
	manager := newOffsets(t, newClient(t, addrs, config))
	good, bad, better := manage(t, manager, 0), manage(t, manager, 1), manage(t, manager, 2)
	good.MarkOffset(5, "")
	bad.MarkOffset(99, "")
	better.MarkOffset(1, "")
	manager.Commit()
	for partition, want := range map[int32]int64{0: 5, 1: -1, 2: 1} {
		if at := committed(t, core, partition); at != want {
			t.Errorf("%d is committed of %d", at, partition)
		}
	}
	if err := <-bad.Errors(); err.Partition != 1 || !errors.Is(err, sarama.ErrOffsetOutOfRange) {
		t.Errorf("%v", err)
	}
	manager.Commit()
	closing(t, manager)
	var all sarama.ConsumerErrors
	if err := bad.Close(); !errors.As(err, &all) || len(all) != 1 {
		t.Errorf("the error that nobody has read: %v", err)
	}

	group := newGroup(t, addrs, groupConfig())
	defer closing(t, group)
	session(t, group, []string{"t"}, func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) {
		manager := newOffsets(t, newClient(t, addrs, config))
		p := manage(t, manager, 0)
		p.MarkOffset(6, "")
		manager.Commit()
		if err := <-p.Errors(); err == nil {
			t.Error("it commits for a group that has members")
		}
		closing(t, manager)
	})
}

// A commit that is refused is tried again with the next one.
func TestOffsetManagerTriesAgain(t *testing.T) {
	server := newServer(t)
	addrs := []string{server.Address()}
	producer := newProducer(t, addrs, testConfig())
	for range 3 {
		if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
			t.Fatal(err)
		}
	}
	config := testConfig()
	config.Consumer.Offsets.AutoCommit.Interval = 50 * time.Millisecond
	client := newClient(t, addrs, config)
	manager := newOffsets(t, client)
	p := manage(t, manager, 0)
	p.MarkOffset(7, "beyond the end, until there is more")
	if err := <-p.Errors(); !errors.Is(err, sarama.ErrOffsetOutOfRange) {
		t.Errorf("%v", err)
	}
	for range 4 {
		if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
			t.Fatal(err)
		}
	}
	p.AsyncClose()
	for range p.Errors() {
	}
	closing(t, manager)
	manager = newOffsets(t, client)
	expectNext(t, manage(t, manager, 0), 7, "beyond the end, until there is more")
	closing(t, manager)
}

// Of two who want a partition at the same time one has it, and only that one asks where the group
// is. Who cannot learn that leaves it to the next one.
func TestOffsetManagerReservesAPartition(t *testing.T) {
	server := newServer(t)
	addrs := []string{server.Address()}
	withTopic(t, addrs[0], 1)
	manager := newOffsets(t, newClient(t, addrs, testConfig()))
	defer closing(t, manager)
	asking, answer := make(chan struct{}, 16), make(chan error)
	server.OnGetCommittedOffsets(func() error {
		asking <- struct{}{}
		return <-answer
	})
	first := make(chan error, 1)
	go func() {
		_, err := manager.ManagePartition("t", 0)
		first <- err
	}()
	<-asking
	second := make(chan error, 1)
	go func() {
		_, err := manager.ManagePartition("t", 0)
		second <- err
	}()
	var wrong sarama.ConfigurationError
	select {
	case err := <-second:
		if !errors.As(err, &wrong) {
			t.Errorf("the second: %v", err)
		}
	case <-asking:
		t.Error("both ask")
		answer <- nil
		<-second
	}
	answer <- testserver.Status(codes.InvalidArgument, "INVALID_FIELD").Err()
	if err := <-first; !errors.Is(err, sarama.ErrInvalidRequest) {
		t.Errorf("the first: %v", err)
	}
	server.OnGetCommittedOffsets(nil)
	manage(t, manager, 0)
}

// Close ends while commits are refused, with an error for each try, and a pause between them.
func TestOffsetManagerClosesWhileCommitsAreRefused(t *testing.T) {
	for _, whole := range []bool{false, true} {
		server := newServer(t)
		addrs := []string{server.Address()}
		withTopic(t, addrs[0], 2)
		fill(t, addrs, 2, 2)
		config := testConfig()
		config.Consumer.Offsets.AutoCommit.Interval = time.Hour
		manager := newOffsets(t, newClient(t, addrs, config))
		refused, other := manage(t, manager, 0), manage(t, manager, 1)
		refused.MarkOffset(99, "") // there is none
		other.MarkOffset(1, "")
		ended, began := make(chan error, 1), time.Now()
		go func() {
			if whole {
				closing(t, manager)
			}
			ended <- refused.Close()
		}()
		select {
		case err := <-ended:
			var errs sarama.ConsumerErrors
			if !errors.As(err, &errs) || len(errs) != config.Consumer.Offsets.Retry.Max+1 ||
				!errors.Is(errs[0], sarama.ErrOffsetOutOfRange) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took < 300*time.Millisecond {
				t.Errorf("it has tried all of that within %v", took)
			}
		case <-time.After(patience):
			t.Fatal("it waits for ever")
		}
		if !whole {
			manage(t, manager, 0) // it is free
		}
		closing(t, manager)
		if _, open := <-other.Errors(); open {
			t.Error("the other one has an error, or is open")
		}
	}
}
