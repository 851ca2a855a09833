package ropewalk

import (
	"context"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A GroupMove is a partition that is on its way from one member to another.
type GroupMove struct {
	TopicPartition
	// From is the member that has it still; empty: nobody.
	From string
	// To is the member that is to have it; empty while a plan is waited for.
	To string
	// Deadline is when it is taken from the member that has it; zero when nobody has it.
	Deadline time.Time
}

const opWatchGroup = "watch group"

// WatchGroup ranges over how a consumer group is: as it is now, and then at each change, without its
// offsets. Changes that come faster than the loop takes them are told in one. A group need not be there
// yet: it is empty then, and of generation 0. A stream that is lost is opened again. It ends with the
// loop, or after an error, which the loop gets: the context's, or that of a stream which could not be
// opened within the client's request timeout.
func (a *Admin) WatchGroup(ctx context.Context, name string) iter.Seq2[*GroupDescription, error] {
	return func(yield func(*GroupDescription, error) bool) {
		// A loop that is left, and a client that is closed, end the call too.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(a.client.ctx, cancel)()
		w := groupWatch{client: a.client, name: name, yield: yield}
		for attempt := 0; ; attempt++ {
			if attempt > 0 && !sleep(ctx, backoff(1)) {
				yield(nil, watchEnded(ctx, a.client, opWatchGroup))
				return
			}
			stream, err := w.open(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			e := w.follow(ctx, stream)
			if e == nil {
				return
			}
			if !e.Retriable() {
				yield(nil, e)
				return
			}
			a.client.log.Info("ropewalk: a group is watched anew", "error", e)
		}
	}
}

// groupWatch is what the streams of one loop have in common.
type groupWatch struct {
	client *Client
	name   string
	yield  func(*GroupDescription, error) bool
	last   *pb.ConsumerGroup
}

type watchedGroup = watchCall[pb.WatchConsumerGroupResponse]

func (w *groupWatch) open(ctx context.Context) (*watchedGroup, error) {
	return openWatch(ctx, w.client, opWatchGroup,
		func(ctx context.Context) (grpc.ServerStreamingClient[pb.WatchConsumerGroupResponse], error) {
			request := &pb.WatchConsumerGroupRequest{Group: w.name}
			return w.client.admins.WatchConsumerGroup(ctx, request)
		})
}

// follow hands on changes until the stream ends; nil when the loop was left.
func (w *groupWatch) follow(ctx context.Context, stream *watchedGroup) *Error {
	defer stream.cancel()
	message := stream.first
	for {
		// A stream that is opened anew begins with how it is, which may be known.
		if group := message.GetGroup(); w.last == nil || !proto.Equal(group, w.last) {
			w.last = group
			if !w.yield(groupFrom(group), nil) {
				return nil
			}
		}
		var e *Error
		if message, e = stream.next(ctx); e != nil {
			return e
		}
	}
}
