package sarama

import (
	"context"
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
	// partition offset managers that are still there. Closing again does nothing.
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
		case <-om.wake:
		case <-om.closing:
			return
		}
		om.Commit()
	}
}

func (om *offsetManager) ManagePartition(
	topic string, partition int32,
) (PartitionOffsetManager, error) {
	place := ropewalk.TopicPartition{Topic: topic, Partition: partition}
	committed, err := om.core.Admin().GetCommittedOffsets(context.Background(), om.group, topic)
	if err != nil {
		return nil, mapError(err)
	}
	pom := &partitionOffsetManager{
		parent: om, place: place, errors: make(chan *ConsumerError, om.config.ChannelBufferSize),
	}
	pom.marks.offset = -1
	for _, o := range committed {
		if o.TopicPartition == place {
			pom.marks.offset, pom.marks.metadata = o.Offset, o.Metadata
		}
	}
	om.mu.Lock()
	defer om.mu.Unlock()
	if om.closed {
		return nil, ErrClosedClient
	}
	if om.parts[place] != nil {
		return nil, ConfigurationError("That topic/partition is already being managed")
	}
	om.parts[place] = pom
	return pom, nil
}

func (om *offsetManager) Commit() {
	om.committing.Lock()
	defer om.committing.Unlock()
	om.flush(context.Background())
	om.releaseDone(false)
}

// flush commits what is marked.
func (om *offsetManager) flush(ctx context.Context) {
	var offsets []ropewalk.CommittedOffset
	var of []*partitionOffsetManager
	om.mu.Lock()
	for place, pom := range om.parts {
		if offset, metadata, dirty := pom.marks.toCommit(); dirty {
			offsets = append(offsets, ropewalk.CommittedOffset{
				TopicPartition: place, Offset: offset, Metadata: metadata,
			})
			of = append(of, pom)
		}
	}
	om.mu.Unlock()
	errs := commitEach(offsets, func(offsets []ropewalk.CommittedOffset) error {
		return om.core.Admin().CommitOffset(ctx, om.group, offsets...)
	})
	for i, err := range errs {
		if err != nil {
			of[i].report(mapError(err))
		} else {
			of[i].marks.committed(offsets[i])
		}
	}
}

// releaseDone ends the partition offset managers that are closed and have nothing to commit, or all
// of them. It returns how many are left.
func (om *offsetManager) releaseDone(all bool) int {
	om.mu.Lock()
	defer om.mu.Unlock()
	for place, pom := range om.parts {
		if _, _, dirty := pom.marks.toCommit(); all || pom.done && !dirty {
			close(pom.errors)
			delete(om.parts, place)
		}
	}
	return len(om.parts)
}

func (om *offsetManager) Close() error {
	var err error
	om.once.Do(func() {
		close(om.closing)
		om.tasks.Wait()
		om.mu.Lock()
		om.closed = true
		for _, pom := range om.parts {
			pom.done = true
		}
		om.mu.Unlock()
		om.committing.Lock()
		defer om.committing.Unlock()
		offsets := &om.config.Consumer.Offsets
		ctx, cancel := context.WithTimeout(context.Background(), om.config.Net.ReadTimeout)
		defer cancel()
		for attempt := 0; offsets.AutoCommit.Enable && attempt <= offsets.Retry.Max; attempt++ {
			om.flush(ctx)
			if om.releaseDone(false) == 0 || ctx.Err() != nil {
				break
			}
		}
		om.releaseDone(true)
		err = om.release()
	})
	return err
}
