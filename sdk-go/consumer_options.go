package ropewalk

import (
	"regexp"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A ConsumerOption says what a [Consumer] reads, or changes a setting of it.
type ConsumerOption func(*consumerConfig)

type consumerConfig struct {
	topics     []string
	partitions []partitionStart
	start      Start
	stop       Stop
	fetchBytes int
	readAhead  int
	heartbeat  time.Duration
	backoff    func(attempt int) time.Duration
	onGap      func(Gap)
	onError    func(error)
	onCaughtUp func(tp TopicPartition, offset int64)

	interceptors []ReceiveInterceptor
	deliveries   []DeliveryInterceptor
}

type partitionStart struct {
	TopicPartition
	start Start
}

// maxFetchBytes is the most that a request may ask for in one batch.
const maxFetchBytes = 3_670_016

func defaultConsumerConfig() consumerConfig {
	return consumerConfig{
		fetchBytes: 1 << 20,
		readAhead:  4,
		heartbeat:  5 * time.Second,
		backoff:    backoff,
	}
}

func (c *consumerConfig) validate() error {
	const op = "new consumer"
	seen := map[string]bool{}
	for _, topic := range c.topics {
		if seen[topic] {
			return invalidError(op, "topic %s is named twice", topic)
		}
		seen[topic] = true
	}
	named := map[TopicPartition]bool{}
	for _, p := range c.partitions {
		if seen[p.Topic] || named[p.TopicPartition] {
			return invalidError(op, "partition %d of topic %s is named twice", p.Partition, p.Topic)
		}
		named[p.TopicPartition] = true
	}
	switch {
	case len(c.topics)+len(c.partitions) == 0:
		return invalidError(op, "no topic is named")
	case c.fetchBytes < 1 || c.fetchBytes > maxFetchBytes:
		return invalidError(op, "fetch bytes must be 1 to %d, not %d", maxFetchBytes, c.fetchBytes)
	case c.readAhead < 1:
		return invalidError(op, "read-ahead must be at least 1, not %d", c.readAhead)
	case c.heartbeat < 100*time.Millisecond || c.heartbeat > 5*time.Minute:
		return invalidError(op, "the heartbeat must be 100ms to 5m, not %v", c.heartbeat)
	case c.backoff == nil:
		return invalidError(op, "the backoff is nil")
	case slices.Contains(c.interceptors, nil), slices.Contains(c.deliveries, nil):
		return invalidError(op, "an interceptor is nil")
	}
	return nil
}

// WithTopics reads all partitions of topics, also those that are added later.
func WithTopics(topics ...string) ConsumerOption {
	return func(c *consumerConfig) { c.topics = append(c.topics, topics...) }
}

// WithPartition reads one partition, from a start of its own.
func WithPartition(topic string, partition int32, start Start) ConsumerOption {
	return func(c *consumerConfig) {
		c.partitions = append(c.partitions, partitionStart{TopicPartition{topic, partition}, start})
	}
}

// WithStart sets where the topics of [WithTopics] are read from. Default: [StartEarliest].
func WithStart(start Start) ConsumerOption { return func(c *consumerConfig) { c.start = start } }

// WithStop sets where reading ends. Default: it does not.
func WithStop(stop Stop) ConsumerOption { return func(c *consumerConfig) { c.stop = stop } }

// WithFetchBytes bounds the records that the broker sends at once. Default: 1 MiB, at most 3.5 MiB.
func WithFetchBytes(n int) ConsumerOption { return func(c *consumerConfig) { c.fetchBytes = n } }

// WithReadAhead bounds how many fetches wait to be read. When so many do, the broker is slowed by
// flow control: it sends up to 2 MiB more. Default: 4.
func WithReadAhead(n int) ConsumerOption { return func(c *consumerConfig) { c.readAhead = n } }

// WithHeartbeat sets how often the broker shows that a quiet stream is alive. After three intervals
// of silence the consumer reconnects. Default: 5 s; 100 ms to 5 min.
func WithHeartbeat(d time.Duration) ConsumerOption {
	return func(c *consumerConfig) { c.heartbeat = d }
}

// WithReconnectBackoff sets the pause before a broken stream is opened again; attempt is the number
// of failures since it last worked. Default: 50 ms, doubling to 2 s, with jitter.
func WithReconnectBackoff(f func(attempt int) time.Duration) ConsumerOption {
	return func(c *consumerConfig) { c.backoff = f }
}

// WithGapHandler has gaps reported to a function, in their place between records, instead of as
// errors from Next and Poll.
func WithGapHandler(f func(Gap)) ConsumerOption { return func(c *consumerConfig) { c.onGap = f } }

// WithErrorHandler tells of errors after which the consumer reconnects by itself. The function must
// not block. Default: they are logged only.
func WithErrorHandler(f func(error)) ConsumerOption { return func(c *consumerConfig) { c.onError = f } }

// WithCaughtUpHandler tells when the stream has brought everything of a partition that could be
// read; offset is the next one. Records may still wait in this consumer. The function must not
// block.
func WithCaughtUpHandler(f func(tp TopicPartition, offset int64)) ConsumerOption {
	return func(c *consumerConfig) { c.onCaughtUp = f }
}

// request builds the first request of a consumer.
func (c *consumerConfig) request() *pb.SubscribeRequest {
	r := c.requestFor(c.partitions)
	r.DefaultStart = c.start.wire
	for _, topic := range c.topics {
		r.Topics = append(r.Topics, &pb.TopicSelection{
			Selection: &pb.TopicSelection_Name{Name: topic},
		})
	}
	return r
}

// requestFor builds a request for named partitions.
func (c *consumerConfig) requestFor(partitions []partitionStart) *pb.SubscribeRequest {
	r := &pb.SubscribeRequest{
		Stop:                 c.stop.wire,
		MaxBatchBytes:        int32(c.fetchBytes),
		HeartbeatInterval:    durationpb.New(c.heartbeat),
		AcceptedCompressions: accepted(),
	}
	byTopic := map[string]*pb.TopicSelection{}
	for _, p := range partitions {
		selection := byTopic[p.Topic]
		if selection == nil {
			selection = &pb.TopicSelection{
				Selection: &pb.TopicSelection_Name{Name: p.Topic},
			}
			byTopic[p.Topic] = selection
			r.Topics = append(r.Topics, selection)
		}
		selection.Partitions = append(selection.Partitions,
			&pb.PartitionSelection{Partition: p.Partition, Start: p.start.wire})
	}
	return r
}

const (
	// What a broker takes: topics and patterns of a request, patterns among them, bytes of a pattern.
	maxSelections   = 1000
	maxPatterns     = 16
	maxPatternBytes = 1024
)

// join has partitions that are added to topics, which are read as a whole, join the stream of a
// request that names those that there are: patterns that match the topics do that. It reports false
// where nothing is added, as there is no room, or as the stream is to end: what has ended would begin
// anew.
func (c *consumerConfig) join(r *pb.SubscribeRequest) bool {
	if c.stop.wire != nil {
		return false
	}
	var patterns []string
	for _, topic := range c.topics {
		name := regexp.QuoteMeta(topic)
		if last := len(patterns) - 1; last >= 0 && len(patterns[last])+1+len(name) <= maxPatternBytes {
			patterns[last] += "|" + name
		} else {
			patterns = append(patterns, name)
		}
	}
	if len(patterns) > maxPatterns || len(r.Topics)+len(patterns) > maxSelections {
		return false
	}
	for _, pattern := range patterns {
		r.Topics = append(r.Topics, &pb.TopicSelection{
			Selection: &pb.TopicSelection_Pattern{Pattern: pattern},
		})
	}
	return true
}
