package sarama

import (
	"context"
	"sync"
	"sync/atomic"
)

// leastWaiting is how many messages of a topic may wait at least before they hold up others.
const leastWaiting = 256

// A waitingMessage waits for what is to be known of its topic. asksFirst: it has no place in the
// topic as it is known, which may have grown.
type waitingMessage struct {
	message   *ProducerMessage
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

	mu    sync.Mutex
	lines map[string]chan waitingMessage
}

func (w *waitingTopics) init(p *asyncProducer) {
	w.producer, w.room = p, max(p.config.ChannelBufferSize, leastWaiting)
	w.lines = map[string]chan waitingMessage{}
}

// join puts a message behind others of its topic that wait; it reports false when none do. It waits
// while the line is full.
func (w *waitingTopics) join(m *ProducerMessage) bool {
	if w.some.Load() == 0 {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	line := w.lines[m.Topic]
	if line == nil {
		return false
	}
	line <- waitingMessage{message: m} // a line that is full needs no lock to get shorter
	return true
}

// begin makes the line of a topic, with its first message.
func (w *waitingTopics) begin(m waitingMessage) {
	topic, line := m.message.Topic, make(chan waitingMessage, w.room)
	line <- m
	w.mu.Lock()
	w.lines[topic] = line
	w.mu.Unlock()
	w.some.Add(1)
	w.ended.Go(func() { withRecover(func() { w.run(topic, line) }) })
}

// run sends what is in a line, one after the other, until it is empty.
func (w *waitingTopics) run(topic string, line chan waitingMessage) {
	for {
		select {
		case m := <-line:
			if _, err := w.producer.client.Layout(context.Background(), topic); err != nil {
				w.fail(m, err, line)
			} else {
				w.send(m)
			}
			continue
		default:
		}
		if w.end(topic, line) {
			return
		}
	}
}

// end ends a line if it is empty.
func (w *waitingTopics) end(topic string, line chan waitingMessage) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(line) > 0 {
		return false
	}
	delete(w.lines, topic)
	w.some.Add(-1)
	return true
}

func (w *waitingTopics) send(m waitingMessage) {
	u := newUnderway(w.producer, m.message)
	w.producer.handOver(u, w.producer.prepareAdmitted(m.message, &u.record, m.asksFirst))
}

// fail answers a message whose topic cannot be known, and those behind it, which have waited for
// the same.
func (w *waitingTopics) fail(m waitingMessage, err error, line <-chan waitingMessage) {
	for left := len(line); ; left-- {
		w.producer.results.put(result{message: m.message, err: err, weight: weightOf(nil)})
		if left == 0 {
			return
		}
		m = <-line
	}
}

// wait waits until no line is left. Nobody puts messages in any more.
func (w *waitingTopics) wait() { w.ended.Wait() }
