package sarama

import (
	"context"
	"sync"
	"sync/atomic"
)

const (
	// leastWaiting is how many messages of a topic may wait at least before they hold up others.
	leastWaiting = 256
	// mostLines is how many topics are looked up at a time.
	mostLines = 1000
)

// A waitingMessage waits for what is to be known of its topic. asksFirst: it has no place in the
// topic as it is known, which may have grown.
type waitingMessage struct {
	message   *ProducerMessage
	size      int
	asksFirst bool
}

// waitingTopics are the topics of an async producer that have to be looked up. Their messages wait,
// each topic's in a line of its own, in their order, and those of others do not. A line ends when
// nobody is in it. Only the goroutine that takes messages puts any in.
type waitingTopics struct {
	producer *asyncProducer
	room     int
	// some is how many lines there are, so that whoever needs none need not ask for one.
	some  atomic.Int64
	ended sync.WaitGroup

	mu sync.Mutex
	// shorter wakes whoever waits for room.
	shorter *sync.Cond
	lines   map[string][]waitingMessage
	bytes   int // of all lines
}

func (w *waitingTopics) init(p *asyncProducer) {
	w.producer, w.room = p, max(p.config.ChannelBufferSize, leastWaiting)
	w.shorter, w.lines = sync.NewCond(&w.mu), map[string][]waitingMessage{}
}

// join puts a message behind others of its topic that wait; it reports false when none do. It waits
// while the line is full, or all of them have too much.
func (w *waitingTopics) join(m *ProducerMessage, size int) bool {
	if w.some.Load() == 0 {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		line, ok := w.lines[m.Topic]
		if !ok { // also when it has ended meanwhile
			return false
		}
		if len(line) < w.room && w.bytes+size <= maxUnread {
			w.lines[m.Topic] = append(line, waitingMessage{message: m, size: size})
			w.bytes += size
			return true
		}
		w.shorter.Wait()
	}
}

// begin makes the line of a topic, with its first message. It waits while there are too many lines, or
// they have too much.
func (w *waitingTopics) begin(m waitingMessage) {
	topic := m.message.Topic
	w.mu.Lock()
	for len(w.lines) > 0 && (len(w.lines) >= mostLines || w.bytes+m.size > maxUnread) {
		w.shorter.Wait()
	}
	w.lines[topic] = []waitingMessage{m}
	w.bytes += m.size
	w.mu.Unlock()
	w.some.Add(1)
	w.ended.Go(func() { withRecover(func() { w.run(topic) }) })
}

// run sends what is in a line, one after the other, until it is empty.
func (w *waitingTopics) run(topic string) {
	for {
		m, ok := w.next(topic)
		if !ok {
			return
		}
		if _, err := w.producer.client.Layout(context.Background(), topic); err != nil {
			w.fail(err, m)
			w.fail(err, w.rest(topic)...)
		} else {
			w.send(m)
		}
	}
}

// next takes the first of a line; it reports false, and ends the line, if there is none.
func (w *waitingTopics) next(topic string) (m waitingMessage, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.shorter.Signal() // nobody waits but the goroutine that takes messages
	line := w.lines[topic]
	if len(line) == 0 {
		delete(w.lines, topic)
		w.some.Add(-1)
		return waitingMessage{}, false
	}
	w.lines[topic] = line[1:]
	w.bytes -= line[0].size
	return line[0], true
}

// rest takes all of a line, which goes on.
func (w *waitingTopics) rest(topic string) []waitingMessage {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.shorter.Signal()
	line := w.lines[topic]
	w.lines[topic] = nil
	for _, m := range line {
		w.bytes -= m.size
	}
	return line
}

func (w *waitingTopics) send(m waitingMessage) {
	u := newUnderway(w.producer, m.message)
	w.producer.handOver(u, w.producer.prepareAdmitted(m.message, &u.record, m.asksFirst))
}

// fail answers messages whose topic cannot be known: they have all waited for the same.
func (w *waitingTopics) fail(err error, messages ...waitingMessage) {
	for _, m := range messages {
		w.producer.results.put(result{message: m.message, err: err, weight: weightOf(nil)})
	}
}

// wait waits until no line is left. Nobody puts messages in any more.
func (w *waitingTopics) wait() { w.ended.Wait() }
