package sarama

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// OffsetManager keeps the committed offsets of a group for a program that assigns partitions to
// itself. It must be closed, after its partition offset managers.
//
// The group must have no members meanwhile: commits are refused with ErrNonEmptyGroup while it has.
type OffsetManager interface {
	// ManagePartition begins with a partition. One that is managed already is a ConfigurationError.
	ManagePartition(topic string, partition int32) (PartitionOffsetManager, error)

	// Close commits what is marked, if Consumer.Offsets.AutoCommit is enabled, and ends, with the
	// partition offset managers that are still there. A commit that is refused is tried again
	// Consumer.Offsets.Retry.Max times, for no longer than Net.ReadTimeout. Closing again does
	// nothing.
	Close() error

	// Commit commits what is marked, and waits for it.
	Commit()
}

type offsetManager struct {
	config  *Config
	core    *ropewalk.Client
	release func() error
	group   string

	// wake has the loop commit before its time.
	wake    chan struct{}
	closing chan struct{}
	tasks   sync.WaitGroup
	once    sync.Once
	// committing keeps commits in their order.
	committing sync.Mutex

	mu     sync.Mutex
	closed bool
	parts  map[ropewalk.TopicPartition]*partitionOffsetManager
}

// NewOffsetManagerFromClient makes an offset manager of a group. The client stays open when it is
// closed.
func NewOffsetManagerFromClient(group string, client Client) (OffsetManager, error) {
	core, release, err := coreOf(client)
	if err != nil {
		return nil, err
	}
	om := &offsetManager{
		config: client.Config(), core: core, release: release, group: group,
		wake: make(chan struct{}, 1), closing: make(chan struct{}),
		parts: map[ropewalk.TopicPartition]*partitionOffsetManager{},
	}
	if om.config.Consumer.Offsets.AutoCommit.Enable {
		om.tasks.Go(func() { withRecover(om.loop) })
	}
	return om, nil
}

// loop commits from time to time.
func (om *offsetManager) loop() {
	ticker := time.NewTicker(om.config.Consumer.Offsets.AutoCommit.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			om.Commit()
		case <-om.wake:
			om.commitDone()
		case <-om.closing:
			return
		}
	}
}

// commitDone commits for partition offset managers that are closed, which wait for it. What is
// still refused after Offsets.Retry.Max more tries is given up, with its errors told.
func (om *offsetManager) commitDone() {
	om.committing.Lock()
	defer om.committing.Unlock()
	om.mu.Lock()
	var done []*partitionOffsetManager
	for _, pom := range om.parts {
		if pom.done {
			done = append(done, pom)
		}
	}
	om.mu.Unlock()
	om.commitLast(done)
}

// commitLast tries to commit as often as the config says, and then ends partition offset managers.
// All tries together take no longer than one call may.
func (om *offsetManager) commitLast(done []*partitionOffsetManager) {
	offsets := &om.config.Consumer.Offsets
	ctx, cancel := context.WithTimeout(context.Background(), om.config.Net.ReadTimeout)
	defer cancel()
	for attempt := 0; offsets.AutoCommit.Enable && attempt <= offsets.Retry.Max; attempt++ {
		if attempt > 0 && !wait(ctx, commitPause) {
			break
		}
		om.flush(ctx, func(pom *partitionOffsetManager) bool { return slices.Contains(done, pom) })
		if om.releaseDone(nil) == 0 {
			break
		}
	}
	om.releaseDone(done)
}

func (om *offsetManager) ManagePartition(
	topic string, partition int32,
) (PartitionOffsetManager, error) {
	place := ropewalk.TopicPartition{Topic: topic, Partition: partition}
	pom := &partitionOffsetManager{
		parent: om, place: place, errors: make(chan *ConsumerError, om.config.ChannelBufferSize),
	}
	if err := om.reserve(pom); err != nil {
		return nil, err
	}
	committed, err := om.core.Admin().GetCommittedOffsets(context.Background(), om.group, topic)
	om.mu.Lock()
	defer om.mu.Unlock()
	switch {
	case om.closed:
		return nil, ErrClosedClient
	case err != nil:
		delete(om.parts, place)
		return nil, mapError(err)
	}
	for _, o := range committed {
		if o.TopicPartition == place {
			pom.marks.begin(o.Offset, o.Metadata)
		}
	}
	return pom, nil
}

// reserve keeps a partition for one who asks where the group is: two at a time must not both manage
// it.
func (om *offsetManager) reserve(pom *partitionOffsetManager) error {
	pom.marks.begin(-1, "")
	om.mu.Lock()
	defer om.mu.Unlock()
	if om.closed {
		return ErrClosedClient
	}
	if om.parts[pom.place] != nil {
		return ConfigurationError("That topic/partition is already being managed")
	}
	om.parts[pom.place] = pom
	return nil
}

func (om *offsetManager) Commit() {
	om.committing.Lock()
	defer om.committing.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), om.config.Net.ReadTimeout)
	defer cancel()
	om.flush(ctx, func(*partitionOffsetManager) bool { return true })
	om.releaseDone(nil)
}

// flush commits what is marked of those that are chosen.
func (om *offsetManager) flush(ctx context.Context, chosen func(*partitionOffsetManager) bool) {
	var offsets []ropewalk.CommittedOffset
	var of []*partitionOffsetManager
	om.mu.Lock()
	for place, pom := range om.parts {
		if offset, metadata, dirty := pom.marks.toCommit(); dirty && chosen(pom) {
			offsets = append(offsets, ropewalk.CommittedOffset{
				TopicPartition: place, Offset: offset, Metadata: metadata,
			})
			of = append(of, pom)
		}
	}
	om.mu.Unlock()
	results := commitEach(offsets, func(offsets []ropewalk.CommittedOffset) error {
		return om.core.Admin().CommitOffset(ctx, om.group, offsets...)
	})
	for i, result := range results {
		if result.Err != nil {
			of[i].report(mapError(result.Err))
		} else {
			of[i].marks.committed(offsets[i])
		}
	}
}

// releaseDone ends the partition offset managers that are closed and have nothing to commit, and
// those that are given up. It returns how many are left that are closed.
func (om *offsetManager) releaseDone(givenUp []*partitionOffsetManager) (left int) {
	om.mu.Lock()
	defer om.mu.Unlock()
	for place, pom := range om.parts {
		offset, _, dirty := pom.marks.toCommit()
		switch {
		case !pom.done:
		case !dirty:
			om.end(place, pom)
		case slices.Contains(givenUp, pom):
			Logger.Printf("offset %d of %s/%d is not committed for group %s\n",
				offset, place.Topic, place.Partition, om.group)
			om.end(place, pom)
		default:
			left++
		}
	}
	return left
}

// end ends a partition offset manager; the caller holds the lock.
func (om *offsetManager) end(place ropewalk.TopicPartition, pom *partitionOffsetManager) {
	close(pom.errors)
	delete(om.parts, place)
}

func (om *offsetManager) Close() error {
	var err error
	om.once.Do(func() {
		close(om.closing)
		om.tasks.Wait()
		om.committing.Lock()
		defer om.committing.Unlock()
		om.mu.Lock()
		om.closed = true
		all := slices.Collect(maps.Values(om.parts))
		for _, pom := range all {
			pom.done = true
		}
		om.mu.Unlock()
		om.commitLast(all)
		err = om.release()
	})
	return err
}
