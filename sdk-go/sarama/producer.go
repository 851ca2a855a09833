package sarama

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// producer is what both producers are made of: it places and encodes messages, and has the core
// send them.
type producer struct {
	noTransactions
	config *Config
	client *ropewalk.Client
	core   *ropewalk.Producer
	// release lets go of the client.
	release func() error
	// sent counts the messages that the core was given.
	sent    func(n int64)
	closed  atomic.Bool
	closing sync.Once

	mu     sync.RWMutex
	topics map[string]*placement
	// intercepting has interceptors called one message at a time, as programs expect.
	intercepting sync.Mutex
}

// newProducer makes the producer of a client; the client is let go of if that fails.
func newProducer(
	client *ropewalk.Client, config *Config, release func() error,
) (*producer, error) {
	core, err := client.NewProducer(producerOptions(config)...)
	if err != nil {
		return nil, errors.Join(mapError(err), release())
	}
	return &producer{
		config: config, client: client, core: core, release: release,
		sent: config.count(metricSent), topics: map[string]*placement{},
	}, nil
}

// dialProducer makes a producer with a client of its own.
func dialProducer(addrs []string, config *Config) (*producer, error) {
	if len(addrs) == 0 {
		return nil, ConfigurationError("at least one broker address must be given")
	}
	client, err := connect(addrs, config)
	if err != nil {
		return nil, err
	}
	return newProducer(client, config, func() error { return mapError(client.Close()) })
}

// shareProducer makes a producer on a client of the program's.
func shareProducer(client Client) (*producer, error) {
	core, release, err := coreOf(client)
	if err != nil {
		return nil, err
	}
	return newProducer(core, client.Config(), release)
}

// finish waits until all that the core was given is answered, and ends.
func (p *producer) finish() {
	p.closed.Store(true)
	p.closing.Do(func() {
		if err := errors.Join(p.core.Close(), p.release()); err != nil {
			Logger.Println("closing a producer:", err)
		}
	})
}

// errTopicUnknown: a message cannot be placed before its topic was looked up.
var errTopicUnknown = errors.New("the topic is to be looked up")

// past is a context that has ended: with it, what is known is told, and nothing is waited for.
var past = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// prepare turns a message into a record, with its partition.
func (p *producer) prepare(m *ProducerMessage, record *ropewalk.Record) error {
	if _, err := p.admit(m); err != nil {
		return err
	}
	return p.prepareAdmitted(m, record, false)
}

// admit has interceptors see a message, and refuses one that is too large. It returns the size, as
// far as it is known, also with an error.
func (p *producer) admit(m *ProducerMessage) (size int, err error) {
	defer recovered(&err)
	if p.closed.Load() {
		return 0, ErrShuttingDown
	}
	if interceptors := p.config.Producer.Interceptors; len(interceptors) > 0 {
		p.intercepting.Lock()
		m.intercept(interceptors)
		p.intercepting.Unlock()
	}
	return m.check(p.config)
}

// prepareAdmitted places and encodes a message, and waits for what is to be known of its topic. One
// that has no place in the topic as it is known has it asked for first.
func (p *producer) prepareAdmitted(
	m *ProducerMessage, record *ropewalk.Record, asksFirst bool,
) (err error) {
	defer recovered(&err)
	t, err := (*placement)(nil), error(ErrInvalidPartition)
	if !asksFirst {
		t, err = p.place(context.Background(), m)
	}
	if err == ErrInvalidPartition {
		t, err = p.placeAgain(m)
	}
	if err != nil {
		return err
	}
	return p.fill(t, m, record)
}

// prepareAtOnce places and encodes a message without waiting: what it lacks for that is its error.
func (p *producer) prepareAtOnce(m *ProducerMessage, record *ropewalk.Record) (err error) {
	defer recovered(&err)
	t, err := p.place(past, m)
	if err != nil {
		return err
	}
	return p.fill(t, m, record)
}

// fill encodes a message that is placed.
func (p *producer) fill(t *placement, m *ProducerMessage, record *ropewalk.Record) error {
	if err := m.encode(record); err != nil {
		return err
	}
	p.sent(1)
	t.sent(1)
	return nil
}

// recovered is deferred around code of the program's, a partitioner or an encoder. With a
// PanicHandler a panic there becomes the error of the message, so that it has an answer, and others
// go on.
func recovered(err *error) {
	handler := PanicHandler
	if handler == nil {
		return
	}
	caught := recover()
	if caught == nil {
		return
	}
	handler(caught)
	if cause, ok := caught.(error); ok {
		*err = fmt.Errorf("kafka: preparing a message panicked: %w", cause)
	} else {
		*err = fmt.Errorf("kafka: preparing a message panicked: %v", caught)
	}
}

// placement is the partitioner of a topic, which has state and is asked once at a time.
type placement struct {
	mu          sync.Mutex
	partitioner Partitioner
	dynamic     DynamicConsistencyPartitioner // the same, if it is one
	// stamped: the topic's records have the time of their append.
	stamped atomic.Bool
	// sent counts the topic's messages that the core was given.
	sent func(n int64)
}

// metricSent is the name of what counts messages, of all topics and, with the topic's name, of one.
const metricSent = "record-send-rate"

func (p *producer) topic(name string) *placement {
	p.mu.RLock()
	t := p.topics[name]
	p.mu.RUnlock()
	if t != nil {
		return t
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t = p.topics[name]; t == nil {
		metric := metricSent + "-for-topic-" + strings.ReplaceAll(name, ".", "_")
		t = &placement{
			partitioner: p.config.Producer.Partitioner(name), sent: p.config.count(metric),
		}
		t.dynamic, _ = t.partitioner.(DynamicConsistencyPartitioner)
		p.topics[name] = t
	}
	return t
}

// recheckAfter is how old what is known of a topic must be before a message that contradicts it has
// the topic asked for again.
const recheckAfter = time.Second

// placeAgain places a message whose partition there is not: it may have been added meanwhile.
func (p *producer) placeAgain(m *ProducerMessage) (*placement, error) {
	if err := p.client.RefreshTopics(context.Background(), recheckAfter, m.Topic); err != nil {
		Logger.Printf("whether %s has more partitions: %v\n", m.Topic, err)
		return nil, ErrInvalidPartition
	}
	return p.place(context.Background(), m)
}

// place asks the topic's partitioner. One that wants consistency chooses from all partitions,
// another one from those that have a leader.
func (p *producer) place(ctx context.Context, m *ProducerMessage) (*placement, error) {
	layout, err := p.client.Layout(ctx, m.Topic)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, errTopicUnknown
	case err != nil:
		return nil, err
	}
	t := p.topic(m.Topic)
	if stamped := layout.TimestampType == ropewalk.TimestampAppend; stamped != t.stamped.Load() {
		t.stamped.Store(stamped)
	}
	count := layout.Partitions
	t.mu.Lock()
	defer t.mu.Unlock()
	consistent := t.wantsConsistency(m)
	if !consistent {
		count = int32(len(layout.Led))
	}
	choice, err := t.partitioner.Partition(m, count)
	if err != nil {
		return nil, err
	}
	if choice < 0 || choice >= count {
		return nil, ErrInvalidPartition
	}
	if m.Partition = choice; !consistent {
		m.Partition = layout.Led[choice]
	}
	return t, nil
}

func (t *placement) wantsConsistency(m *ProducerMessage) bool {
	if t.dynamic != nil {
		return t.dynamic.MessageRequiresConsistency(m)
	}
	return t.partitioner.RequiresConsistency()
}

// answered writes back to a message where it went.
func (p *producer) answered(m *ProducerMessage, ack ropewalk.Ack) {
	p.mu.RLock()
	t := p.topics[m.Topic]
	p.mu.RUnlock()
	m.answered(ack, t != nil && t.stamped.Load())
}

// failure is the error that sarama would give.
func (p *producer) failure(err error) error {
	if errors.Is(err, ropewalk.ReasonClosed) {
		if p.closed.Load() {
			return ErrShuttingDown
		}
		return ErrClosedClient
	}
	return mapError(err)
}
