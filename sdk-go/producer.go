package ropewalk

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"
)

// recordOverhead is counted for each record beside its bytes, for the structures around it.
const recordOverhead = 256

// closeTimeout bounds the wait for the broker to end a stream that has nothing left to answer.
const closeTimeout = 2 * time.Second

// recheckAfter is how old the knowledge of a topic must be before a record that contradicts it
// makes the producer ask again: a limit may have been raised, or partitions added.
const recheckAfter = time.Second

// An Ack says where a record went.
type Ack struct {
	// Partition and Offset are the record's place.
	Partition int32
	Offset    int64
	// AppendTime is when the leader appended it, by its clock.
	AppendTime time.Time
	// Achieved is the durability that was reached: at least the one asked for.
	Achieved Durability
	// LeaderEpoch is the epoch of the leader that appended it.
	LeaderEpoch int64
	// Address is where the broker is that answered, HOST:PORT: the leader, or one that forwarded it.
	Address string
}

// A Producer appends records over long-lived streams, one to each broker that leads a partition it
// writes to. It is safe for use by many goroutines, and
// works best when they share one: what arrives while a batch is under way forms the next batch.
//
// Batches are pipelined: those of different partitions, and full ones of one partition, up to
// [WithMaxInFlight]. The records of a partition are appended in the order in which they were handed
// over, also over retries.
//
// It is idempotent unless it is made otherwise: what may have been appended is sent again, as after
// a broken connection or a change of the leader, and is in the log once all the same.
type Producer struct {
	client *Client
	config producerConfig
	memory *semaphore.Weighted
	// compressors has how batches are compressed, by codec; only the sender looks at it.
	compressors map[Compression]*compressor

	ctx    context.Context
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup
	wake   chan struct{}
	quit   chan struct{}
	began  time.Time

	mu      sync.Mutex
	closing bool
	// refusing: it is aborted, and Close comes soon.
	refusing bool
	topics   map[string]*producerTopic
	ready    []*lane
	// streams has them by broker; anyBroker is the one through whichever answers.
	streams map[uint64]*produceStream
	// correlation numbers the batches on all streams; only the sender has it.
	correlation uint64
	// identity is what the broker gave last, if the producer is idempotent and it has; fenced says
	// that another producer has taken the name.
	identity *identity
	fenced   *Error
	// free holds the ids that were given for single appends and that none has at the moment.
	free        []*identity
	outstanding int
	// slab is what records that come next are kept in: one allocation is for many.
	slab []pending
	held held
	// flushes wait for what was handed over before them; begun counts them.
	flushes []*flush
	begun   uint64
}

// producerTopic is a topic with its partitioner; lanes has one entry for each partition in use.
type producerTopic struct {
	partitioner Partitioner
	lanes       map[int32]*lane
	// info is what was known of the topic last, and it holds until then, unless the client has got to
	// know another thing of its topics since it had seen so many of them.
	info *topicInfo
	seen uint64
	then time.Duration
}

// pending is a record that has no answer yet; since counts from when its producer began.
type pending struct {
	record *Record
	done   func(*Record, Ack, error)
	since  time.Duration
	size   int
	// begun is how many flushes had begun when it was handed over.
	begun uint64
	state atomic.Int32
}

// pendingsInSlab is small enough that one record that waits for long does not keep much.
const pendingsInSlab = 64

// The states of a pending record: a caller that gives up takes back what no batch has taken.
const (
	stateQueued int32 = iota
	stateTaken
	stateWithdrawn
)

// NewProducer makes a producer. Close it to have its last records answered.
func (c *Client) NewProducer(options ...ProducerOption) (*Producer, error) {
	config := defaultProducerConfig()
	for _, option := range options {
		option(&config)
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	chosen, err := newCompressor(config.compression, config.level)
	if err != nil {
		return nil, invalidError("new producer", "%v", err)
	}
	p := &Producer{
		client:      c,
		config:      config,
		memory:      semaphore.NewWeighted(int64(config.bufferBytes)),
		compressors: map[Compression]*compressor{config.compression: chosen},
		wake:        make(chan struct{}, 1),
		quit:        make(chan struct{}),
		topics:      map[string]*producerTopic{},
		streams:     map[uint64]*produceStream{},
		began:       time.Now(),
	}
	p.held.longest = config.batching.Linger
	if p.held.longest == 0 {
		p.held.longest = config.deliveryTimeout / 2
	}
	p.ctx, p.cancel = context.WithCancelCause(c.ctx)
	p.tasks.Go(p.run)
	// The client may close it from here on.
	if !c.adopt(p) {
		close(p.quit)
		p.tasks.Wait()
		p.cancel(nil)
		return nil, closedError("new producer", "client")
	}
	return p, nil
}

// Send appends a record and waits for the answer. When the context ends first, the error says by
// Appended whether the record may be appended all the same.
func (p *Producer) Send(ctx context.Context, record *Record) (Ack, error) {
	type result struct {
		ack Ack
		err error
	}
	answer := make(chan result, 1)
	record, tell := p.onSend(ctx, record)
	sent, err := p.enqueue(ctx, record, func(_ *Record, ack Ack, err error) {
		if tell != nil {
			tell(ack, err)
		}
		answer <- result{ack, err}
	})
	if err != nil {
		p.unsent(record, tell, err)
		return Ack{}, err
	}
	select {
	case r := <-answer:
		return r.ack, r.err
	case <-ctx.Done():
		if sent.state.CompareAndSwap(stateQueued, stateWithdrawn) {
			err := contextError("produce", ctx, OutcomeNo)
			p.unsent(record, tell, err)
			return Ack{}, err
		}
		select {
		case r := <-answer: // it was there already
			return r.ack, r.err
		default:
			return Ack{}, contextError("produce", ctx, OutcomeMaybe)
		}
	}
}

// SendAsync hands a record over and returns; it waits only for memory, or for the first look at a
// topic, and no longer than the context. When it returns nil, done is called exactly once, from a
// goroutine of the producer: it must not block, nor send with this producer itself. The record must
// not be changed until then. done may be nil.
func (p *Producer) SendAsync(
	ctx context.Context, record *Record, done func(*Record, Ack, error),
) error {
	sent, tell := p.onSend(ctx, record)
	settled := done
	if sent != record {
		settled = func(_ *Record, ack Ack, err error) {
			if tell != nil {
				tell(ack, err)
			}
			if done != nil {
				done(record, ack, err)
			}
		}
	}
	_, err := p.enqueue(ctx, sent, settled)
	if err != nil {
		p.unsent(sent, tell, err)
	}
	return err
}

// unsent tells of a record that was not put in a batch.
func (p *Producer) unsent(record *Record, tell func(Ack, error), err error) {
	if tell != nil {
		tell(Ack{}, err)
	}
	p.client.hooks.recordsFailed(TopicPartition{record.Topic, NoPartition}, 1, err)
}

func (p *Producer) enqueue(
	ctx context.Context, r *Record, done func(*Record, Ack, error),
) (*pending, error) {
	if err := r.validate(r.Topic); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, contextError("produce", ctx, OutcomeNo)
	}
	size := r.encodedSize()
	given := pending{record: r, done: done, since: time.Since(p.began), size: fieldSize(size)}
	if s, err := p.placeAtOnce(&given, size); s != nil || err != nil {
		return s, err
	}
	seen := p.client.topics.changes.Load()
	info, err := p.topicFor(ctx, r, size)
	if err != nil {
		return nil, err
	}
	weight := p.weight(given.size)
	if err := p.reserve(ctx, weight); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	topic := p.topicLocked(r.Topic)
	topic.info, topic.seen = info, seen
	topic.then = info.fetched.Add(p.client.config.metadataAge).Sub(p.began)
	return p.placeReserved(topic, &given, weight)
}

// placeReserved places a record that has its memory, which is given back if it is not placed: also when
// the partitioner panics. The caller holds the lock.
func (p *Producer) placeReserved(
	topic *producerTopic, given *pending, weight int64,
) (placed *pending, err error) {
	defer func() {
		if placed == nil {
			p.memory.Release(weight)
		}
	}()
	return p.place(topic, given)
}

// placeAtOnce places a record of a size where nothing has to be waited for; otherwise it returns
// nil.
func (p *Producer) placeAtOnce(s *pending, size int) (*pending, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	topic := p.topics[s.record.Topic]
	if topic == nil || topic.seen != p.client.topics.changes.Load() || topic.then <= s.since ||
		topic.info.tooSmallFor(size) || !p.memory.TryAcquire(p.weight(s.size)) {
		return nil, nil
	}
	return p.placeReserved(topic, s, p.weight(s.size))
}

// reserve waits for memory; what is in it does not wait for more meanwhile.
func (p *Producer) reserve(ctx context.Context, weight int64) error {
	if p.memory.TryAcquire(weight) {
		return nil
	}
	defer p.hurry()()
	if p.memory.Acquire(ctx, weight) != nil {
		return contextError("produce", ctx, OutcomeNo)
	}
	return nil
}

// weight is what a record of a size counts in memory; one that is larger than all of it waits to be
// alone.
func (p *Producer) weight(size int) int64 {
	return int64(min(size+recordOverhead, p.config.bufferBytes))
}

// topicFor returns what is known of a record's topic, and refuses a record that is larger than the
// topic takes: within a batch it would have the others refused with it.
func (p *Producer) topicFor(ctx context.Context, r *Record, size int) (*topicInfo, error) {
	info, err := p.client.topics.get(ctx, "produce", r.Topic)
	if err != nil {
		return nil, err
	}
	if info.tooSmallFor(size) && time.Since(info.fetched) > recheckAfter {
		p.client.topics.forget(r.Topic)
		if info, err = p.client.topics.get(ctx, "produce", r.Topic); err != nil {
			return nil, err
		}
	}
	if info.tooSmallFor(size) {
		limit := maxBatchBytes
		if info.maxRecordBytes > 0 {
			limit = min(limit, info.maxRecordBytes)
		}
		return nil, newError("produce", ReasonRecordTooLarge, codes.InvalidArgument, OutcomeNo,
			"the record has %d bytes, more than the %d that are allowed", size, limit)
	}
	return info, nil
}

// tooSmallFor reports whether a topic takes no record of a size.
func (t *topicInfo) tooSmallFor(size int) bool {
	return t.maxRecordBytes > 0 && size > t.maxRecordBytes || size > maxBatchBytes
}

// topicLocked is what the producer has for a topic; the caller holds the lock.
func (p *Producer) topicLocked(name string) *producerTopic {
	topic := p.topics[name]
	if topic == nil {
		topic = &producerTopic{partitioner: p.config.partitioner(name), lanes: map[int32]*lane{}}
		p.topics[name] = topic
	}
	return topic
}

// place puts a record on the lane of its partition. The caller holds the lock, and what it gives is
// not used further.
func (p *Producer) place(topic *producerTopic, given *pending) (*pending, error) {
	if p.closing || p.refusing {
		return nil, closedError("produce", "producer")
	}
	if p.fenced != nil {
		return nil, p.fenced
	}
	r, info := given.record, topic.info
	partition := topic.partitioner.Partition(r, info.partitions)
	if partition < 0 {
		return nil, invalidError("produce", "partition %d is negative", partition)
	}
	if partition >= info.partitions && time.Since(info.fetched) < recheckAfter {
		return nil, newError("produce", ReasonPartitionNotFound, codes.NotFound, OutcomeNo,
			"topic %s has no partition %d, it has %d", r.Topic, partition, info.partitions)
	}
	// Beyond what is known, and known for a while: the broker decides, its answer refreshes us.
	l := topic.lanes[partition]
	if l == nil {
		l = &lane{topic: r.Topic, partition: partition}
		topic.lanes[partition] = l
	}
	if len(p.slab) == 0 {
		p.slab = make([]pending, pendingsInSlab)
	}
	s := &p.slab[0]
	p.slab = p.slab[1:]
	s.record, s.done, s.since, s.size = r, given.done, given.since, given.size
	s.begun = p.begun
	l.push(s)
	p.outstanding++
	if p.config.batching.waits() {
		p.hold(l, s)
	} else {
		l.bytes += s.size
		p.list(l)
	}
	return s, nil
}

// A flush waits for so many records, of those that were handed over before it began.
type flush struct {
	number uint64
	left   int
	done   chan struct{}
}

// Flush sends what waits for others, and waits until every record that was handed over before has its
// answer. What others hand over meanwhile does not wait for others, and is not waited for.
func (p *Producer) Flush(ctx context.Context) error {
	defer p.hurry()()
	p.mu.Lock()
	if p.outstanding == 0 {
		p.mu.Unlock()
		return nil
	}
	p.begun++
	f := &flush{number: p.begun, left: p.outstanding, done: make(chan struct{})}
	p.flushes = append(p.flushes, f)
	p.mu.Unlock()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		p.flushes = slices.DeleteFunc(p.flushes, func(other *flush) bool { return other == f })
		return contextError("flush", ctx, OutcomeMaybe)
	}
}

// Close takes no more records, waits until those it has are answered, which takes no longer than
// the delivery timeout and the answer timeout together, and ends the stream. Who cannot wait that long
// calls [Producer.Shutdown], or [Producer.Abort], also meanwhile. Closing again does nothing, but for
// waiting until it is closed.
func (p *Producer) Close() error {
	p.mu.Lock()
	again := p.closing
	p.closing = true
	p.mu.Unlock()
	if again {
		p.tasks.Wait()
		return nil
	}
	// Once the context is canceled, all that is left fails by itself: each record has its outcome.
	_ = p.Flush(context.Background())
	close(p.quit)
	// The broker ends the stream when it sees ours end; one that hangs must not hold up Close.
	hung := time.AfterFunc(closeTimeout, func() { p.cancel(closedError("produce", "producer")) })
	p.tasks.Wait()
	hung.Stop()
	p.cancel(nil)
	p.mu.Lock()
	if p.held.timer != nil {
		p.held.timer.Stop()
	}
	p.mu.Unlock()
	p.client.disown(p)
	return nil
}

// run is the one goroutine that sends.
func (p *Producer) run() {
	for {
		if b := p.nextBatch(); b != nil {
			p.dispatch(b)
			continue
		}
		select {
		case <-p.wake:
		case <-p.quit:
			p.mu.Lock()
			for _, s := range p.streams {
				_ = s.rpc.CloseSend() // never fails, by its contract
			}
			p.mu.Unlock()
			return
		}
	}
}

// finish gives records their outcome and the memory back. The caller does not hold the lock: done
// is foreign code.
func (p *Producer) finish(records []*pending, result func(i int) (Ack, error)) {
	weight := int64(0)
	for i, s := range records {
		weight += p.weight(s.size)
		if s.done != nil && s.state.Load() != stateWithdrawn {
			ack, err := result(i)
			s.done(s.record, ack, err)
		}
		s.record, s.done = nil, nil // others in the slab may wait for longer
	}
	p.memory.Release(weight)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outstanding -= len(records)
	p.flushes = slices.DeleteFunc(p.flushes, func(f *flush) bool {
		for _, s := range records {
			if s.begun < f.number {
				f.left--
			}
		}
		if f.left == 0 {
			close(f.done)
		}
		return f.left == 0
	})
	clear(records)
}
