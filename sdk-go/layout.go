package ropewalk

import "context"

// A TopicLayout is what there is to choose from when a record is placed by hand, as with
// [ManualPartitioner].
type TopicLayout struct {
	// Partitions is the number of partitions.
	Partitions int32
	// Led are those that have a leader, as far as the client knows, in order: a record of another
	// one waits until there is one. It must not be changed. It is never empty: where no leader is
	// known at all, these are all partitions.
	Led []int32
	// TimestampType says whose clock gives a record its time.
	TimestampType TimestampType
}

// Layout returns the layout of a topic, as far as the client knows: it is asked for once, and
// again when something contradicts it or it is old. It is cheap enough to be called for each
// record. A topic that does not exist is created first, as by [Client.Partitions].
func (c *Client) Layout(ctx context.Context, topic string) (TopicLayout, error) {
	info, err := c.topics.get(ctx, "layout", topic)
	if err != nil {
		return TopicLayout{}, err
	}
	return TopicLayout{
		Partitions:    info.partitions,
		Led:           c.topics.ledOf(topic, info.partitions),
		TimestampType: info.timestampType,
	}, nil
}

// ledOf returns the partitions that have a leader. The list is made once for each state of the
// leaders.
func (t *topicCache) ledOf(name string, partitions int32) []int32 {
	t.mu.RLock()
	found := t.led[name]
	t.mu.RUnlock()
	if found == nil || found.of != partitions {
		found = t.listLed(name, partitions)
	}
	if found.some {
		t.suspect(name) // they may have a leader by now, and nothing is sent there to notice
	}
	return found.partitions
}

func (t *topicCache) listLed(name string, partitions int32) *ledPartitions {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]int32, 0, partitions)
	for p := range partitions {
		if t.leaders[name][p].broker != anyBroker {
			list = append(list, p)
		}
	}
	some := len(list) < int(partitions)
	if len(list) == 0 {
		for p := range partitions {
			list = append(list, p)
		}
	}
	found := &ledPartitions{of: partitions, partitions: list, some: some}
	t.led[name] = found
	return found
}

// ledPartitions are the partitions of a topic that have a leader; some: others have none.
type ledPartitions struct {
	of         int32
	partitions []int32
	some       bool
}
