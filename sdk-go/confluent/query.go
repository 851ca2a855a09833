package kafka

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// GetMetadata describes the cluster: its brokers, and one topic, all topics, or with neither
// those that were used. It waits for so many milliseconds at most; below 0: socket.timeout.ms. A
// topic that does not exist is there with an Error, and is not created.
func (p *Producer) GetMetadata(topic *string, allTopics bool, timeoutMs int) (*Metadata, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return p.handle.getMetadata(topic, allTopics, timeoutMs, func() []string {
		p.mu.Lock()
		defer p.mu.Unlock()
		topics := make([]string, 0, len(p.boxes))
		for name := range p.boxes {
			topics = append(topics, name)
		}
		return topics
	})
}

// GetMetadata describes the cluster: its brokers, and one topic, all topics, or with neither those
// that are assigned. It waits for so many milliseconds at most; below 0: socket.timeout.ms. A topic
// that does not exist is there with an Error, and is not created.
func (c *Consumer) GetMetadata(topic *string, allTopics bool, timeoutMs int) (*Metadata, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	return c.handle.getMetadata(topic, allTopics, timeoutMs, func() []string {
		c.mu.Lock()
		defer c.mu.Unlock()
		named := map[string]bool{}
		var topics []string
		for at := range c.parts {
			if !named[at.Topic] {
				named[at.Topic] = true
				topics = append(topics, at.Topic)
			}
		}
		return topics
	})
}

// QueryWatermarkOffsets asks for the first offset of a partition, and the one behind its last.
func (h *handle) QueryWatermarkOffsets(
	topic string, partition int32, timeoutMs int,
) (low, high int64, err error) {
	if err := h.check(); err != nil {
		return -1, -1, err
	}
	return h.queryWatermarks(topic, partition, timeoutMs)
}

func (h *handle) queryWatermarks(
	topic string, partition int32, timeoutMs int,
) (low, high int64, err error) {
	ctx, cancel := h.within(timeoutMs)
	defer cancel()
	admin, err := h.admin(ctx)
	if err != nil {
		return 0, 0, err
	}
	bounds, err := admin.ListOffsets(ctx,
		ropewalk.QueryEarliest(topic, partition), ropewalk.QueryLatest(topic, partition))
	if err != nil {
		return 0, 0, asError(err)
	}
	return bounds[0].Offset, bounds[1].Offset, nil
}

// QueryWatermarkOffsets asks for the first offset of a partition, and the one behind its last.
func (c *Consumer) QueryWatermarkOffsets(
	topic string, partition int32, timeoutMs int,
) (low, high int64, err error) {
	if err := c.usable(); err != nil {
		return -1, -1, err
	}
	low, high, err = c.queryWatermarks(topic, partition, timeoutMs)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		at := ropewalk.TopicPartition{Topic: topic, Partition: partition}
		c.bounds[at] = watermarks{low, high}
	}
	return low, high, err
}

// GetWatermarkOffsets returns the watermarks that were heard of last, without asking: when the
// partition was assigned, with the messages that were handed out, and from QueryWatermarkOffsets.
// OffsetInvalid stands for what is not known.
func (c *Consumer) GetWatermarkOffsets(topic string, partition int32) (low, high int64, err error) {
	if err := c.usable(); err != nil {
		return -1, -1, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b, known := c.bounds[ropewalk.TopicPartition{Topic: topic, Partition: partition}]
	if !known {
		return int64(OffsetInvalid), int64(OffsetInvalid), nil
	}
	return b.low, b.high, nil
}

// OffsetsForTimes looks for the first message of each partition that is of a time or later:
// Offset is the time, in milliseconds since 1970, and becomes the message's offset, or OffsetEnd
// where there is none. What went wrong with a partition is its Error.
func (h *handle) OffsetsForTimes(times []TopicPartition, timeoutMs int) ([]TopicPartition, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	return h.offsetsForTimes(times, timeoutMs)
}

// OffsetsForTimes is the same as a producer's.
func (c *Consumer) OffsetsForTimes(
	times []TopicPartition, timeoutMs int,
) ([]TopicPartition, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	return c.offsetsForTimes(times, timeoutMs)
}

func (h *handle) offsetsForTimes(times []TopicPartition, timeoutMs int) ([]TopicPartition, error) {
	if err := checkPartitions(times); err != nil {
		return nil, err
	}
	ctx, cancel := h.within(timeoutMs)
	defer cancel()
	admin, err := h.admin(ctx)
	if err != nil {
		return nil, err
	}
	list := append([]TopicPartition(nil), times...)
	err = eachOffset(ctx, admin, len(times), func(i int) ropewalk.OffsetQuery {
		return ropewalk.QueryTime(times[i].topic(), times[i].Partition,
			time.UnixMilli(int64(times[i].Offset)))
	}, func(i int, found ropewalk.PartitionOffset, err error) {
		if list[i].Error = toError(err); err != nil {
			return
		}
		if list[i].Offset = Offset(found.Offset); found.Timestamp.IsZero() {
			list[i].Offset = OffsetEnd
		}
	})
	if err != nil {
		return nil, asError(err)
	}
	return list, nil
}

// eachOffset resolves queries: all with one call, or where that does not work, each with its own.
// So one partition without a leader, or without a topic, fails by itself; it takes a quarter of the
// time to see that, and the rest is for the others. The results come one at a time. The error is
// that nothing could be asked.
func eachOffset(ctx context.Context, admin *ropewalk.Admin, n int,
	query func(i int) ropewalk.OffsetQuery, result func(int, ropewalk.PartitionOffset, error),
) error {
	if n == 0 {
		return nil
	}
	queries := make([]ropewalk.OffsetQuery, n)
	for i := range queries {
		queries[i] = query(i)
	}
	together, cancel := ctx, context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok && n > 1 {
		together, cancel = context.WithTimeout(ctx, time.Until(deadline)/4)
	}
	defer cancel()
	found, err := admin.ListOffsets(together, queries...)
	if err == nil && len(found) == n {
		for i := range found {
			result(i, found[i], nil)
		}
		return nil
	}
	switch {
	case ctx.Err() != nil || errors.Is(err, ropewalk.ReasonClosed):
		return err
	case n == 1 && (ofOneTopic(err) || errors.Is(err, ropewalk.ReasonPartitionNotFound)):
		result(0, ropewalk.PartitionOffset{}, err)
		return nil
	case n == 1:
		return err
	}
	var mu sync.Mutex
	inParallel(n, func(i int) {
		one, err := admin.ListOffsets(ctx, queries[i])
		mu.Lock()
		defer mu.Unlock()
		if err == nil && len(one) != 1 {
			err = errorf(ErrFail, "a broker has answered %d offsets for one", len(one))
		}
		if err != nil {
			result(i, ropewalk.PartitionOffset{}, err)
		} else {
			result(i, one[0], nil)
		}
	})
	return nil
}

// mostAtOnce bounds the calls that are under way for one call of the program.
const mostAtOnce = 16

// inParallel runs a function for 0 up to n, a few at a time, and waits.
func inParallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(n, mostAtOnce) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
