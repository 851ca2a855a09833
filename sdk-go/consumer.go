package ropewalk

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"sort"
	"sync"

	"google.golang.org/grpc/codes"
)

// A Consumer reads partitions over one stream. It reconnects by itself and goes on at the next
// offset. Any broker serves it; once there is a connection to the one that leads most of what it reads,
// it goes over to that. It is safe for use by many goroutines; each record is handed out once.
type Consumer struct {
	client *Client
	config consumerConfig

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	// fetches brings what was received; it is closed at the end, and final is then the reason.
	fetches chan fetch
	final   error

	// reading holds a token while somebody takes from current.
	reading chan struct{}
	current fetch
	// damage is why it has ended, when that was found in what is handed out.
	damage *Error

	mu     sync.Mutex
	states map[TopicPartition]*partitionState
}

// A fetch is a batch of one partition, from one offset up to another, or a gap in it. It waits
// unopened, and is then opened piece by piece: what was opened can be far larger.
type fetch struct {
	state    *partitionState
	batch    *receivedBatch
	from, to int64
	gap      *Gap
	// address is where the broker is that it came from.
	address string

	opened  openedBatch
	records []Record
}

// NewConsumer starts to read. When it returns, the start of every partition is fixed: what is
// produced from then on is delivered, also with [StartLatest]. The context bounds the start only.
func (c *Client) NewConsumer(ctx context.Context, options ...ConsumerOption) (*Consumer, error) {
	const op = "subscribe"
	config := defaultConsumerConfig()
	for _, option := range options {
		option(&config)
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	if err := c.mustExist(ctx, op, config); err != nil {
		return nil, err
	}
	k := &Consumer{
		client:  c,
		config:  config,
		fetches: make(chan fetch, config.readAhead),
		reading: make(chan struct{}, 1),
		states:  map[TopicPartition]*partitionState{},
	}
	k.ctx, k.cancel = context.WithCancel(c.ctx)
	k.tasks.Add(1) // the start, and then the reading: Close waits for either
	if !c.adopt(k) {
		k.cancel()
		return nil, closedError(op, "client")
	}
	r := &reader{consumer: k}
	stream, err := startChild(ctx, k.ctx, c, op, func(ctx context.Context) (*subscription, error) {
		return r.begin(ctx, config.request())
	})
	if err != nil {
		k.cancel()
		k.tasks.Done()
		c.disown(k)
		return nil, err
	}
	if c.topics.leaderOfMost(stream.request) == anyBroker {
		c.topics.learnOf(stream.request)
	}
	go func() {
		defer k.tasks.Done()
		r.run(stream)
	}()
	return k, nil
}

// mustExist looks up the topics of a consumer that must not create them.
func (c *Client) mustExist(ctx context.Context, op string, config consumerConfig) error {
	if c.config.createTopics {
		return nil
	}
	names := slices.Clone(config.topics)
	for _, p := range config.partitions {
		names = append(names, p.Topic)
	}
	for _, name := range names {
		if _, err := c.topics.get(ctx, op, name); err != nil {
			return err
		}
	}
	return nil
}

// Next returns the next record, and waits for it as long as the context allows. It returns io.EOF
// when every partition has reached the stop. An error with [ReasonGap] wraps a *[Gap]: records are
// gone, and the next call goes on behind them. After any other error that is not the context's, the
// consumer has ended.
func (k *Consumer) Next(ctx context.Context) (*Record, error) {
	records, err := k.take(ctx, 1)
	if err != nil {
		return nil, err
	}
	return &records[0], nil
}

// Poll returns records as they came in, at least one, all of one partition. It waits and fails as
// Next does.
func (k *Consumer) Poll(ctx context.Context) ([]Record, error) { return k.take(ctx, 0) }

// take waits for records: at most so many of a fetch, or all of it (0).
func (k *Consumer) take(ctx context.Context, most int) ([]Record, error) {
	began := beganFor(k.config.deliveries)
	if err := k.load(ctx); err != nil {
		return nil, err
	}
	records := k.current.records
	if most > 0 {
		n := min(most, len(records))
		records = records[:n:n]
	}
	if k.current.records = k.current.records[len(records):]; len(k.current.records) == 0 {
		k.current.records = nil // let go of the array
	}
	k.current.state.delivered.Store(records[len(records)-1].Offset + 1)
	address := k.current.address
	k.release()
	k.client.onReceive(ctx, k.config.interceptors, records)
	k.client.onDelivery(ctx, k.config.deliveries,
		Delivery{Records: records, Address: address, Began: began})
	k.client.hooks.recordsDelivered("", address, records)
	return records, nil
}

// Records returns the records to range over. The loop ends where the consumer stops, and after an
// error, which it gets; only a gap does not end it.
func (k *Consumer) Records(ctx context.Context) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		for {
			record, err := k.Next(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(record, err) || (err != nil && !errors.Is(err, ReasonGap)) {
				return
			}
		}
	}
}

// load takes the reading token and has records in current. After an error the token is given back.
func (k *Consumer) load(ctx context.Context) error {
	select {
	case k.reading <- struct{}{}:
	case <-ctx.Done():
		return contextError("consume", ctx, OutcomeNo)
	}
	for len(k.current.records) == 0 {
		if err := k.receive(ctx); err != nil {
			k.release()
			return err
		}
	}
	return nil
}

func (k *Consumer) release() { <-k.reading }

// receive takes the next piece, or the next fetch.
func (k *Consumer) receive(ctx context.Context) error {
	if k.damage != nil {
		return k.damage
	}
	if k.current.opened.more() {
		records, damage := k.current.opened.piece()
		k.current.records = records
		return k.damaged(damage)
	}
	select {
	case f, ok := <-k.fetches:
		if !ok {
			return k.final
		}
		k.current = f
		if f.gap == nil {
			opened, damage := f.batch.open(f.from, f.to, 0)
			if damage == nil {
				k.client.hooks.batchReceived("", f.batch)
			}
			k.current.batch, k.current.opened = nil, opened // which lets go of it with its last piece
			return k.damaged(damage)
		}
		f.state.delivered.Store(f.gap.To)
		k.client.hooks.gapFound("", f.gap)
		if k.config.onGap != nil {
			k.config.onGap(*f.gap)
			return nil
		}
		e := newError("consume", ReasonGap, codes.OutOfRange, OutcomeNo, "%v", f.gap)
		e.cause = f.gap
		return e
	case <-ctx.Done():
		return contextError("consume", ctx, OutcomeNo)
	case <-k.ctx.Done():
		return closedError("consume", "consumer")
	}
}

// damaged ends the consumer when it cannot read on.
func (k *Consumer) damaged(damage *Error) error {
	if damage == nil {
		return nil
	}
	k.damage, k.current = damage, fetch{}
	k.cancel()
	return damage
}

// Positions returns where the consumer is, by topic and partition.
func (k *Consumer) Positions() []Position {
	k.mu.Lock()
	list := make([]Position, 0, len(k.states))
	for _, s := range k.states {
		list = append(list, s.position())
	}
	k.mu.Unlock()
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i], list[j]
		return a.Topic < b.Topic || a.Topic == b.Topic && a.Partition < b.Partition
	})
	return list
}

// Position returns where the consumer is in a partition, and whether it reads it.
func (k *Consumer) Position(topic string, partition int32) (Position, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.states[TopicPartition{topic, partition}]
	if s == nil {
		return Position{}, false
	}
	return s.position(), true
}

// Commit keeps the positions of this consumer under the name of a consumer group: everything that
// was handed out counts as read.
func (k *Consumer) Commit(ctx context.Context, group string) error {
	var offsets []CommittedOffset
	for _, p := range k.Positions() {
		offsets = append(offsets, CommittedOffset{TopicPartition: p.TopicPartition, Offset: p.Offset})
	}
	return k.client.commitOffset(ctx, group, offsets)
}

// CommitOffset keeps positions under the name of a consumer group, durably; many of them in several calls,
// as [Admin.CommitOffset] does.
func (k *Consumer) CommitOffset(
	ctx context.Context, group string, offsets ...CommittedOffset,
) error {
	return k.client.commitOffset(ctx, group, offsets)
}

// GetCommittedOffsets returns the positions that are kept for a consumer group, in all topics when
// none is named. Partitions without one are left out.
func (k *Consumer) GetCommittedOffsets(
	ctx context.Context, group string, topics ...string,
) ([]CommittedOffset, error) {
	return k.client.committedOffsets(ctx, group, topics)
}

// Close ends the stream. Records that were received and not handed out are dropped; nothing is
// committed. Closing again does nothing.
func (k *Consumer) Close() error {
	k.cancel()
	k.tasks.Wait()
	k.client.disown(k)
	return nil
}

// Shutdown is Close: that waits for no broker, and has no use for the context.
func (k *Consumer) Shutdown(context.Context) error { return k.Close() }
