package ropewalk

import (
	"context"
	"iter"

	"google.golang.org/grpc"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A TopicEventKind says what a [TopicEvent] tells.
type TopicEventKind int

const (
	// TopicsStarted: the state begins, with nothing; also when the stream was lost and is there again.
	// What was known before is void. It has no Topic.
	TopicsStarted TopicEventKind = iota
	// TopicPresent: a topic of that state. They come by name.
	TopicPresent
	// TopicsSynced: the state is complete; what comes from here on are changes. It has no Topic.
	TopicsSynced
	// TopicCreated: a topic was created.
	TopicCreated
	// TopicChanged: a topic was changed: its settings, its partitions, or where their replicas are to
	// be. As it is now.
	TopicChanged
	// TopicDeleted: a topic was deleted. As it was last.
	TopicDeleted
)

// String returns started, present, synced, created, changed or deleted.
func (k TopicEventKind) String() string {
	names := [...]string{"started", "present", "synced", "created", "changed", "deleted"}
	if k < 0 || int(k) >= len(names) {
		return "unknown"
	}
	return names[k]
}

// A TopicEvent tells of a topic, or of the state of all.
type TopicEvent struct {
	Kind TopicEventKind
	// Topic is the topic; nil where Kind has none.
	Topic *Topic
}

// WatchTopics ranges over the topics whose name begins with prefix, and then over their changes as they
// come. Whoever is slow gets the changes of a topic in one. Each time the stream is lost, the state is
// told anew, beginning with [TopicsStarted]. It ends with the loop, or after an error, which the loop
// gets: the context's, or that of a stream which could not be opened within the client's request
// timeout.
func (a *Admin) WatchTopics(ctx context.Context, prefix string) iter.Seq2[TopicEvent, error] {
	return func(yield func(TopicEvent, error) bool) {
		w := topicWatch{client: a.client, prefix: prefix}
		// A loop that is left, and a client that is closed, end the call too.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(a.client.ctx, cancel)()
		for {
			stream, err := w.open(ctx)
			if err != nil {
				yield(TopicEvent{}, err)
				return
			}
			e := w.follow(ctx, stream, yield)
			if e == nil {
				return
			}
			if !e.Retriable() {
				yield(TopicEvent{}, e)
				return
			}
			a.client.log.Info("ropewalk: topics are watched anew", "error", e)
		}
	}
}

// topicWatch is what the streams of one loop have in common.
type topicWatch struct {
	client *Client
	prefix string
	// failures counts the streams since one that told something.
	failures int
}

const opWatch = "watch topics"

type topicStream = watchCall[pb.WatchTopicsResponse]

// open starts a call, after a pause where the last one told nothing.
func (w *topicWatch) open(ctx context.Context) (*topicStream, error) {
	if w.failures > 0 && !sleep(ctx, backoff(w.failures)) {
		return nil, watchEnded(ctx, w.client, opWatch)
	}
	w.failures++
	return openWatch(ctx, w.client, opWatch,
		func(ctx context.Context) (grpc.ServerStreamingClient[pb.WatchTopicsResponse], error) {
			return w.client.admins.WatchTopics(ctx, &pb.WatchTopicsRequest{NamePrefix: w.prefix})
		})
}

// follow hands on events until the stream ends; nil when the loop was left.
func (w *topicWatch) follow(
	ctx context.Context, stream *topicStream, yield func(TopicEvent, error) bool,
) *Error {
	defer stream.cancel()
	if !yield(TopicEvent{Kind: TopicsStarted}, nil) {
		return nil
	}
	message := stream.first
	for {
		w.failures = 0
		if event, ok := topicEventFrom(message); ok && !yield(event, nil) {
			return nil
		}
		var e *Error
		if message, e = stream.next(ctx); e != nil {
			return e
		}
	}
}

// topicEventFrom reports false for what a later version tells.
func topicEventFrom(message *pb.WatchTopicsResponse) (TopicEvent, bool) {
	switch e := message.GetEvent().(type) {
	case *pb.WatchTopicsResponse_Present:
		return TopicEvent{TopicPresent, topicFrom(e.Present)}, true
	case *pb.WatchTopicsResponse_Synced:
		return TopicEvent{Kind: TopicsSynced}, true
	case *pb.WatchTopicsResponse_Created:
		return TopicEvent{TopicCreated, topicFrom(e.Created)}, true
	case *pb.WatchTopicsResponse_Changed:
		return TopicEvent{TopicChanged, topicFrom(e.Changed)}, true
	case *pb.WatchTopicsResponse_Deleted:
		return TopicEvent{TopicDeleted, topicFrom(e.Deleted)}, true
	}
	return TopicEvent{}, false
}
