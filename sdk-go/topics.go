package ropewalk

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// topicInfo is what producers need to know of a topic.
type topicInfo struct {
	partitions     int32
	maxRecordBytes int
	fetched        time.Time
}

// topicCache remembers topics for all producers of a client. A topic is looked up once at a time,
// however many wait for it.
type topicCache struct {
	client *Client

	mu      sync.RWMutex
	known   map[string]*topicInfo
	lookups map[string]*lookup
}

// lookup is one request for a topic; info and err may be read once done is closed.
type lookup struct {
	done chan struct{}
	info *topicInfo
	err  error
}

func (t *topicCache) init(c *Client) {
	t.client, t.known, t.lookups = c, map[string]*topicInfo{}, map[string]*lookup{}
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
	if errors.Is(err, ReasonTopicNotFound) {
		if err := t.create(ctx, op, name); err != nil {
			return nil, err
		}
		answer, err = t.describe(ctx, op, name)
	}
	if err != nil {
		return nil, err
	}
	return &topicInfo{
		partitions:     max(answer.GetTopic().GetPartitionCount(), 1),
		maxRecordBytes: int(answer.GetTopic().GetSettings().GetMaxRecordBytes()),
		fetched:        time.Now(),
	}, nil
}

func (t *topicCache) describe(ctx context.Context, op, name string) (*pb.GetTopicResponse, error) {
	return call(ctx, t.client, op, true, func(ctx context.Context) (*pb.GetTopicResponse, error) {
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
