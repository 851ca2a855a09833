package ropewalk

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// topicInfo is what producers need to know of a topic.
type topicInfo struct {
	partitions     int32
	maxRecordBytes int
	// compression is for producers that were not told how to compress.
	compression Compression
	// timestampType is for those who want to know the time that a record was given.
	timestampType TimestampType
	fetched       time.Time
}

// topicCache remembers topics for all producers of a client. A topic is looked up once at a time,
// however many wait for it.
type topicCache struct {
	client *Client
	// changes counts what became of known, for those who remember what they got from it.
	changes atomic.Uint64

	mu      sync.RWMutex
	known   map[string]*topicInfo
	lookups map[string]*lookup
	// relearning are the topics whose leaders are being asked for, or are about to be; true: something
	// contradicts them meanwhile, so that they are asked for once more.
	relearning map[string]bool
	leaders    map[string]map[int32]leader
	// led has what follows from leaders, for topics that were asked for.
	led map[string]*ledPartitions
}

// A leader is who leads a partition, as far as is known.
type leader struct {
	broker uint64
	epoch  int64
}

// lookup is one request for a topic; info and err may be read once done is closed.
type lookup struct {
	done chan struct{}
	info *topicInfo
	err  error
}

func (t *topicCache) init(c *Client) {
	t.client, t.known, t.lookups = c, map[string]*topicInfo{}, map[string]*lookup{}
	t.relearning, t.leaders = map[string]bool{}, map[string]map[int32]leader{}
	t.led = map[string]*ledPartitions{}
}

// get returns a topic. One that is known but old is looked up again in the background: what is
// known serves meanwhile, also while no broker answers.
func (t *topicCache) get(ctx context.Context, op, name string) (*topicInfo, error) {
	t.mu.RLock()
	info := t.known[name]
	t.mu.RUnlock()
	if info != nil && time.Since(info.fetched) < t.client.config.metadataAge {
		return info, nil
	}
	l := t.lookUp(name)
	if info != nil {
		return info, nil
	}
	select {
	case <-l.done:
		if l.err != nil {
			return nil, fromRPC(op, l.err)
		}
		return l.info, nil
	case <-ctx.Done():
		return nil, contextError(op, ctx, OutcomeNo)
	}
}

// lookUp starts a look-up or joins the one that runs. It runs under the client's context: a caller
// that gives up must not take the others with it.
func (t *topicCache) lookUp(name string) *lookup {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.lookups[name]; l != nil {
		return l
	}
	l := &lookup{done: make(chan struct{})}
	started := t.client.inBackground(func() {
		info, err := t.fetch("get topic", name)
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.lookups, name)
		if l.info, l.err = info, err; err == nil {
			t.known[name] = info
			t.changes.Add(1)
		}
		close(l.done)
	})
	if !started {
		l.err = closedError("get topic", "client")
		close(l.done)
		return l
	}
	t.lookups[name] = l
	return l
}

func (t *topicCache) fetch(op, name string) (*topicInfo, error) {
	ctx := t.client.ctx
	answer, err := t.describe(ctx, op, name)
	if errors.Is(err, ReasonTopicNotFound) && t.client.config.createTopics {
		if err := t.create(ctx, op, name); err != nil {
			return nil, err
		}
		answer, err = t.describe(ctx, op, name)
	}
	if err != nil {
		return nil, err
	}
	t.learnLeaders(name, answer)
	return infoOf(answer), nil
}

func infoOf(answer *pb.GetTopicResponse) *topicInfo {
	return &topicInfo{
		partitions:     max(answer.GetTopic().GetPartitionCount(), 1),
		maxRecordBytes: int(answer.GetTopic().GetSettings().GetMaxRecordBytes()),
		compression:    TopicCompression(answer.GetTopic().GetSettings().GetCompression()).codec(),
		timestampType:  TimestampType(answer.GetTopic().GetSettings().GetTimestampType()),
		fetched:        time.Now(),
	}
}

// learnLeaders takes who leads the partitions of a topic. A broker that is behind what an append has
// told is not believed: they are asked for again.
func (t *topicCache) learnLeaders(name string, answer *pb.GetTopicResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.leaders[name]
	if known == nil {
		known = map[int32]leader{}
		t.leaders[name] = known
	}
	delete(t.led, name)
	for _, p := range answer.GetPartitions() {
		// One without a replica knows a leader and no epoch.
		was, epoch := known[p.GetPartition()].epoch, p.GetLeaderEpoch()
		if epoch == 0 || epoch >= was {
			known[p.GetPartition()] = leader{p.GetLeaderBrokerId(), max(epoch, was)}
		} else {
			t.askLocked(name)
		}
	}
}

// leader returns the broker that leads a partition, or anyBroker; then it is asked for.
func (t *topicCache) leader(name string, partition int32) uint64 {
	t.mu.RLock()
	found := t.leaders[name][partition].broker
	t.mu.RUnlock()
	if found == anyBroker {
		t.suspect(name)
	}
	return found
}

// maxLearned bounds the topics of a subscription that are looked up to learn who leads them.
const maxLearned = 16

// learnOf has the leaders of a subscription's topics asked for in the background, where there is a
// choice. Unlike a look-up it creates nothing: a topic that is read may have been deleted by now.
func (t *topicCache) learnOf(request *pb.SubscribeRequest) {
	if !t.client.brokers.haveChoice() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, selection := range request.GetTopics()[:min(len(request.GetTopics()), maxLearned)] {
		if name := selection.GetName(); name != "" {
			t.askLocked(name)
		}
	}
}

// leaderOfMost returns the broker that leads most of the partitions that a subscription reads, as far
// as is known; anyBroker where nothing is.
func (t *topicCache) leaderOfMost(request *pb.SubscribeRequest) uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	led := map[uint64]int{}
	for _, selection := range request.GetTopics() {
		leaders := t.leaders[selection.GetName()]
		for _, p := range selection.GetPartitions() {
			led[leaders[p.GetPartition()].broker]++
		}
		if len(selection.GetPartitions()) == 0 {
			for _, l := range leaders {
				led[l.broker]++
			}
		}
	}
	delete(led, anyBroker)
	most := anyBroker
	for id, count := range led {
		if count > led[most] || count == led[most] && id < most {
			most = id
		}
	}
	return most
}

// moved takes from a refusal who leads a partition, or that nobody knows.
func (t *topicCache) moved(name string, partition int32, broker uint64, epoch int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.leaders[name]
	if known == nil || epoch != 0 && epoch < known[partition].epoch {
		return
	}
	known[partition] = leader{broker, max(epoch, known[partition].epoch)}
	delete(t.led, name)
}

// appended takes the epoch of an append: a new one means that what is known of the leader is old.
func (t *topicCache) appended(name string, partition int32, epoch int64) {
	t.mu.RLock()
	was, known := t.leaders[name][partition]
	t.mu.RUnlock()
	if !known || epoch <= was.epoch {
		return
	}
	t.mu.Lock()
	if known := t.leaders[name]; known != nil {
		known[partition] = leader{known[partition].broker, epoch}
	}
	t.mu.Unlock()
	t.suspect(name)
}

// suspect has the leaders of a topic that is known asked for again.
func (t *topicCache) suspect(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known[name] != nil || t.leaders[name] != nil {
		t.askLocked(name)
	}
}

// askLocked has the leaders of a topic asked for, at most once a second. An answer that is on its way
// may be older than what gave rise to the question.
func (t *topicCache) askLocked(name string) {
	if _, asking := t.relearning[name]; asking {
		t.relearning[name] = true
		return
	}
	t.relearning[name] = false
	wait := time.Duration(0)
	if info := t.known[name]; info != nil {
		wait = max(relearnAfter-time.Since(info.fetched), 0)
	}
	time.AfterFunc(wait, func() {
		if !t.client.inBackground(func() { t.relearn(name) }) {
			t.relearned(name)
		}
	})
}

func (t *topicCache) relearn(name string) {
	defer t.relearned(name)
	t.mu.Lock()
	t.relearning[name] = false // what was suspected until now is what this asks for
	t.mu.Unlock()
	_ = t.refresh(t.client.ctx, name) // who needs the topic asks again, and learns why
}

func (t *topicCache) relearned(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	again := t.relearning[name]
	if delete(t.relearning, name); again && t.client.ctx.Err() == nil {
		t.askLocked(name)
	}
}

func (t *topicCache) describe(ctx context.Context, op, name string) (*pb.GetTopicResponse, error) {
	return callOfChild(ctx, t.client, op, true,
		func(ctx context.Context) (*pb.GetTopicResponse, error) {
			return t.client.admins.GetTopic(ctx, &pb.GetTopicRequest{Name: name})
		})
}

// create has the broker create a topic by its first use, if it is set to do that: a stream that
// names an unknown topic is such a use. Unlike CreateTopic it leaves the decision, and the number
// of partitions, to the broker; unlike a first Produce it lets the producer place every record
// itself.
func (t *topicCache) create(ctx context.Context, op, name string) error {
	_, err := call(ctx, t.client, op, true, func(ctx context.Context) (*pb.SubscribeResponse, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := t.client.consumers.Subscribe(ctx, &pb.SubscribeRequest{
			Topics: []*pb.TopicSelection{{
				Selection: &pb.TopicSelection_Name{Name: name},
			}},
			DefaultStart: &pb.Start{
				Position: &pb.Start_Latest{Latest: &emptypb.Empty{}},
			},
		})
		if err != nil {
			return nil, err
		}
		return stream.Recv()
	})
	return err
}

// forget drops what is known of a topic after an answer that contradicts it.
func (t *topicCache) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, name)
	delete(t.leaders, name)
	delete(t.led, name)
	t.changes.Add(1)
}

// Partitions returns the number of partitions of a topic. A topic that does not exist is created
// first, with default settings, where the broker allows that; otherwise the error has
// [ReasonTopicNotFound].
func (c *Client) Partitions(ctx context.Context, topic string) (int32, error) {
	info, err := c.topics.get(ctx, "partitions", topic)
	if err != nil {
		return 0, err
	}
	return info.partitions, nil
}

// RefreshTopics has topics that the client knows asked for anew, where what is known of them is
// older than age; all that it knows when none is named. It is for those who know, or suspect, that a
// topic was changed elsewhere: by itself the client asks when something contradicts what it knows,
// and after the time of [WithMetadataAge]. It creates none, and forgets one that was deleted.
func (c *Client) RefreshTopics(ctx context.Context, age time.Duration, names ...string) error {
	t := &c.topics
	if len(names) == 0 {
		t.mu.RLock()
		names = slices.Sorted(maps.Keys(t.known))
		t.mu.RUnlock()
	}
	for _, name := range names {
		t.mu.RLock()
		info := t.known[name]
		t.mu.RUnlock()
		if info == nil || time.Since(info.fetched) < age {
			continue
		}
		if err := t.refresh(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (t *topicCache) refresh(ctx context.Context, name string) error {
	answer, err := t.describe(ctx, "refresh topics", name)
	if errors.Is(err, ReasonTopicNotFound) {
		t.forget(name)
		return nil
	}
	if err != nil {
		return err
	}
	t.learnLeaders(name, answer)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[name] = infoOf(answer)
	t.changes.Add(1)
	return nil
}
