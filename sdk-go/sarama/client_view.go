package sarama

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// fresh is how old what a client tells may be.
const fresh = time.Second

// view is what a client was told of its cluster last. A program may ask for each message that it
// sends, so that an answer serves for a moment; while no broker answers, it serves on.
type view struct {
	core *ropewalk.Client
	conf *Config

	mu      sync.Mutex
	known   clusterView
	brokers map[int32]*Broker
	topics  map[string]topicView
	all     namesView
}

type clusterView struct {
	controller int32
	// brokers are those that there are, by id.
	brokers []*Broker
	alive   map[int32]bool
	fetched time.Time
}

type topicView struct {
	partitions []ropewalk.PartitionInfo
	fetched    time.Time
}

type namesView struct {
	names   []string
	fetched time.Time
}

func newView(core *ropewalk.Client, conf *Config) *view {
	return &view{
		core: core, conf: conf,
		brokers: map[int32]*Broker{}, topics: map[string]topicView{},
	}
}

// serves reports whether what was told before stands in for an answer that did not come.
func serves(fetched time.Time, err error) bool {
	if fetched.IsZero() {
		return false
	}
	var e *ropewalk.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) && e.Retriable()
}

// cluster tells of the brokers, at most age old.
func (v *view) cluster(ctx context.Context, age time.Duration) (clusterView, error) {
	v.mu.Lock()
	known := v.known
	v.mu.Unlock()
	if age > 0 && time.Since(known.fetched) < age {
		return known, nil
	}
	answer, err := v.core.Admin().GetBrokers(ctx)
	if err != nil {
		if age > 0 && serves(known.fetched, err) {
			return known, nil
		}
		return clusterView{}, mapError(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.learnLocked(answer)
	return v.known, nil
}

// learnLocked keeps the Broker of each id that stays where it is: programs compare them.
func (v *view) learnLocked(answer *ropewalk.Cluster) {
	v.known = clusterView{
		controller: int32(answer.Controller), alive: map[int32]bool{}, fetched: time.Now(),
	}
	for _, b := range answer.Brokers {
		if b.Removed {
			continue
		}
		id := int32(b.ID)
		broker := v.brokers[id]
		if broker == nil || broker.addr != b.Address {
			broker = &Broker{id: id, addr: b.Address, rack: b.Rack, view: v}
			v.brokers[id] = broker
		}
		v.known.brokers = append(v.known.brokers, broker)
		v.known.alive[id] = b.Alive
	}
	maps.DeleteFunc(v.brokers, func(_ int32, b *Broker) bool {
		return !slices.Contains(v.known.brokers, b)
	})
}

// broker returns one that is known, or nil.
func (v *view) broker(id int32) *Broker {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.brokers[id]
}

func (v *view) isAlive(id int32) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known.alive[id]
}

// offline returns the replicas of a partition whose brokers cannot be reached.
func (v *view) offline(p ropewalk.PartitionInfo) []int32 {
	ids := []int32{}
	for _, id := range brokerIDs(p.Replicas) {
		if !v.isAlive(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// topic tells of a topic's partitions, at most age old. It creates the topic where that is allowed.
func (v *view) topic(
	ctx context.Context, name string, age time.Duration,
) ([]ropewalk.PartitionInfo, error) {
	v.mu.Lock()
	known := v.topics[name]
	v.mu.Unlock()
	if age > 0 && time.Since(known.fetched) < age {
		return known.partitions, nil
	}
	_, partitions, err := v.core.Admin().GetTopic(ctx, name)
	if errors.Is(err, ropewalk.ReasonTopicNotFound) && mayCreate(v.conf) {
		if _, err = v.core.Partitions(ctx, name); err == nil {
			_, partitions, err = v.core.Admin().GetTopic(ctx, name)
		}
	}
	if err != nil {
		if age > 0 && serves(known.fetched, err) {
			return known.partitions, nil
		}
		v.forget(name)
		return nil, mapError(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.topics[name] = topicView{partitions, time.Now()}
	return partitions, nil
}

// forget drops what is known of a topic, which was changed or deleted.
func (v *view) forget(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.topics, name)
	v.all = namesView{}
}

// names returns the topics, at most age old.
func (v *view) names(ctx context.Context, age time.Duration) ([]string, error) {
	v.mu.Lock()
	known := v.all
	asked := slices.Sorted(maps.Keys(v.topics))
	v.mu.Unlock()
	if !wantsAll(v.conf) {
		return asked, nil
	}
	if age > 0 && time.Since(known.fetched) < age {
		return slices.Clone(known.names), nil
	}
	topics, err := v.core.Admin().ListTopics(ctx, "")
	if err != nil {
		if age > 0 && serves(known.fetched, err) {
			return slices.Clone(known.names), nil
		}
		return nil, mapError(err)
	}
	names := make([]string, 0, len(topics))
	for _, topic := range topics {
		names = append(names, topic.Name)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = namesView{names, time.Now()}
	return slices.Clone(names), nil
}

// metadataContext bounds one question for metadata.
func metadataContext(*Config) (context.Context, context.CancelFunc) {
	return context.WithCancel(context.Background())
}

// mayCreate reports whether a topic is created by being asked for.
func mayCreate(*Config) bool { return true }

// wantsAll reports whether Topics tells of all topics.
func wantsAll(*Config) bool { return true }
