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

// fresh is how old what a client tells may be before it is asked for anew.
const fresh = time.Second

// maxRefreshing bounds the questions under way that nobody waits for.
const maxRefreshing = 16

// view is what a client was told of its cluster last. A program may ask for each message that it
// sends, so that an answer serves for a moment. One that is older serves too, while it is asked for
// anew in the background: so nobody waits for a broker that does not answer.
type view struct {
	core *ropewalk.Client
	conf *Config

	// ctx ends with the view, and the questions under way with it.
	ctx   context.Context
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu      sync.Mutex
	flights map[string]*flight
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

// A flight is a question under way, which is shared by who asks the same; err may be read once done
// is closed.
type flight struct {
	done chan struct{}
	err  error
}

func newView(core *ropewalk.Client, conf *Config) *view {
	v := &view{
		core: core, conf: conf, flights: map[string]*flight{},
		brokers: map[int32]*Broker{}, topics: map[string]topicView{},
	}
	v.ctx, v.stop = context.WithCancel(context.Background())
	return v
}

// close ends the questions under way.
func (v *view) close() {
	v.mu.Lock()
	v.stop()
	v.mu.Unlock()
	v.tasks.Wait()
}

// fly asks in the background, or joins who asks the same already.
func (v *view) fly(key string, ask func(context.Context) error) *flight {
	v.mu.Lock()
	defer v.mu.Unlock()
	if f := v.flights[key]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	if v.ctx.Err() != nil {
		f.err = ErrClosedClient
		close(f.done)
		return f
	}
	v.flights[key] = f
	v.tasks.Go(func() {
		ctx, cancel := metadataContext(v.ctx, v.conf)
		defer cancel()
		err := ask(ctx)
		v.mu.Lock()
		defer v.mu.Unlock()
		if f.err = err; err != nil && v.ctx.Err() != nil {
			f.err = ErrClosedClient
		}
		delete(v.flights, key)
		close(f.done)
	})
	return f
}

// answer sees to it that something is known: what is old is asked for in the background, what is
// not known at all is waited for. Age 0 asks anew, after whatever the caller has done before.
func (v *view) answer(
	ctx context.Context, key string, fetched time.Time, age time.Duration,
	ask func(context.Context) error,
) error {
	switch {
	case age == 0:
		return mapError(ask(ctx))
	case time.Since(fetched) < age:
		return nil
	case !fetched.IsZero():
		v.mu.Lock()
		busy := len(v.flights) >= maxRefreshing
		v.mu.Unlock()
		if !busy {
			v.fly(key, ask)
		}
		return nil
	}
	f := v.fly(key, ask)
	<-f.done // it is bounded as the caller is, and began no later
	return mapError(f.err)
}

// serves reports whether what was told before stands in for an answer that did not come.
func serves(err error) bool {
	var e *ropewalk.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) && e.Retriable()
}

// cluster tells of the brokers. It waits if nothing is known, and if age is 0.
func (v *view) cluster(ctx context.Context, age time.Duration) (clusterView, error) {
	err := v.answer(ctx, "cluster", v.knownCluster().fetched, age, func(ctx context.Context) error {
		answer, err := v.core.Admin().GetBrokers(ctx)
		if err != nil {
			return err
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.learnLocked(answer)
		return nil
	})
	if err != nil {
		return clusterView{}, err
	}
	return v.knownCluster(), nil
}

func (v *view) knownCluster() clusterView {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known
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

// topic tells of a topic's partitions, as cluster does of brokers. It creates the topic where that
// is allowed, unless it is one that was there.
func (v *view) topic(
	ctx context.Context, name string, age time.Duration,
) ([]ropewalk.PartitionInfo, error) {
	known := v.knownTopic(name)
	key, creates := "new topic "+name, true
	if age > 0 && !known.fetched.IsZero() {
		// It is asked for with nobody waiting: who deletes it meanwhile shall not find it again.
		key, creates = "topic "+name, false
	}
	err := v.answer(ctx, key, known.fetched, age, func(ctx context.Context) error {
		return v.askTopic(ctx, name, creates)
	})
	if err != nil {
		return nil, err
	}
	if told := v.knownTopic(name); !told.fetched.IsZero() {
		known = told
	}
	if known.fetched.IsZero() {
		return nil, ErrUnknownTopicOrPartition // it was deleted at this moment
	}
	return known.partitions, nil
}

// refreshAll asks for the names, and for all topics that were asked for before, anew. It creates
// none of them.
func (v *view) refreshAll(ctx context.Context) error {
	if _, err := v.names(ctx, 0); err != nil {
		return err
	}
	v.mu.Lock()
	asked := slices.Sorted(maps.Keys(v.topics))
	v.mu.Unlock()
	for _, name := range asked {
		err := v.askTopic(ctx, name, false)
		if err != nil && !errors.Is(err, ropewalk.ReasonTopicNotFound) {
			return mapError(err)
		}
	}
	return nil
}

func (v *view) knownTopic(name string) topicView {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.topics[name]
}

func (v *view) askTopic(ctx context.Context, name string, creates bool) error {
	_, partitions, err := v.core.Admin().GetTopic(ctx, name)
	creates = creates && v.conf.Metadata.AllowAutoTopicCreation
	if creates && errors.Is(err, ropewalk.ReasonTopicNotFound) {
		if _, err = v.core.Partitions(ctx, name); err == nil {
			_, partitions, err = v.core.Admin().GetTopic(ctx, name)
		}
	}
	if err != nil {
		if !serves(err) {
			v.forget(name)
		}
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.topics[name] = topicView{partitions, time.Now()}
	return nil
}

// forget drops what is known of a topic, which was changed or deleted.
func (v *view) forget(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.topics, name)
	v.all = namesView{}
}

// names returns the topics, as cluster does brokers.
func (v *view) names(ctx context.Context, age time.Duration) ([]string, error) {
	v.mu.Lock()
	known := v.all
	asked := slices.Sorted(maps.Keys(v.topics))
	v.mu.Unlock()
	if !v.conf.Metadata.Full {
		return asked, nil
	}
	if err := v.answer(ctx, "names", known.fetched, age, v.askNames); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.all.fetched.IsZero() {
		known = v.all
	}
	return slices.Clone(known.names), nil
}

func (v *view) askNames(ctx context.Context) error {
	topics, err := v.core.Admin().ListTopics(ctx, "")
	if err != nil {
		return err
	}
	names := make([]string, 0, len(topics))
	for _, topic := range topics {
		names = append(names, topic.Name)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = namesView{names, time.Now()}
	return nil
}

// metadataContext bounds one question for metadata.
func metadataContext(
	parent context.Context, conf *Config,
) (context.Context, context.CancelFunc) {
	if conf.Metadata.Timeout > 0 {
		return context.WithTimeout(parent, conf.Metadata.Timeout)
	}
	return context.WithCancel(parent)
}
