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

// weight is what it counts while it waits.
func (m waitingMessage) weight() int64 { return weightOfSize(m.size) }

// A waitingLine is what waits for one topic. ending: what is in it asks for nothing, and nobody
// joins any more.
type waitingLine struct {
	messages []waitingMessage
	ending   bool
}

// waitingTopics are the topics of an async producer that have to be looked up. Their messages wait,
// each topic's in a line of its own, in their order, and those of others do not. A line ends when
// nobody is in it. Only the goroutine that takes messages puts any in.
type waitingTopics struct {
	producer *asyncProducer
	// room is how many messages a line has place for, and most how many lines there may be.
	room, most int
	// some is how many lines there are, so that whoever needs none need not ask for one.
	some  atomic.Int64
	ended sync.WaitGroup

	mu sync.Mutex
	// shorter wakes whoever waits for room.
	shorter *sync.Cond
	lines   map[string]*waitingLine
	// weight is that of all messages that are neither answered nor with the core.
	weight int64
}

func (w *waitingTopics) init(p *asyncProducer) {
	w.producer, w.room, w.most = p, max(p.config.ChannelBufferSize, leastWaiting), mostLines
	w.shorter, w.lines = sync.NewCond(&w.mu), map[string]*waitingLine{}
}

// join puts a message behind others of its topic that wait; it reports false when none do. It waits
// while the line is full or ending, or all of them have too much.
func (w *waitingTopics) join(m *ProducerMessage, size int) bool {
	if w.some.Load() == 0 {
		return false
	}
	waiting := waitingMessage{message: m, size: size}
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		line := w.lines[m.Topic]
		if line == nil { // also when it has ended meanwhile
			return false
		}
		if !line.ending && len(line.messages) < w.room && w.weight+waiting.weight() <= maxUnread {
			line.messages = append(line.messages, waiting)
			w.weight += waiting.weight()
			return true
		}
		w.shorter.Wait()
	}
}

// begin makes the line of a topic, with its first message. It waits while there are too many lines,
// or they have too much.
func (w *waitingTopics) begin(m waitingMessage) {
	topic := m.message.Topic
	w.mu.Lock()
	for len(w.lines) > 0 && (len(w.lines) >= w.most || w.weight+m.weight() > maxUnread) {
		w.shorter.Wait()
	}
	w.lines[topic] = &waitingLine{messages: []waitingMessage{m}}
	w.weight += m.weight()
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
		_, err := w.producer.client.Layout(context.Background(), topic)
		if err != nil {
			w.fail(err, m)
			w.fail(err, w.rest(topic)...)
		} else {
			w.send(topic, m)
			w.done(m)
		}
	}
}

// next takes the first of a line; it reports false, and ends the line, if there is none.
func (w *waitingTopics) next(topic string) (m waitingMessage, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := w.lines[topic]
	if len(line.messages) == 0 {
		delete(w.lines, topic)
		w.some.Add(-1)
		w.shorter.Signal()
		return waitingMessage{}, false
	}
	m = line.messages[0]
	line.messages[0] = waitingMessage{} // the array may live longer than the message
	line.messages = line.messages[1:]
	return m, true
}

// rest takes all of a line, which goes on.
func (w *waitingTopics) rest(topic string) []waitingMessage {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := w.lines[topic]
	messages := line.messages
	line.messages = nil
	return messages
}

// end has a line end, so that what comes next of its topic need not wait any more: without it a
// program that sends as fast as it can would keep the line full for ever. Or it has it go on, where
// its first message asks, so that others need not wait for that.
func (w *waitingTopics) end(topic string, ending bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines[topic].ending = ending
	w.shorter.Signal() // nobody waits but the goroutine that takes messages
}

// done: messages that were taken from a line are answered, or with the core.
func (w *waitingTopics) done(messages ...waitingMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range messages {
		w.weight -= m.weight()
	}
	w.shorter.Signal() // nobody waits but the goroutine that takes messages
}

func (w *waitingTopics) send(topic string, m waitingMessage) {
	p, u := w.producer, newUnderway(w.producer, m.message)
	err := error(ErrInvalidPartition)
	if !m.asksFirst {
		err = p.prepareAtOnce(m.message, &u.record)
	}
	asks := err == ErrInvalidPartition || err == errTopicUnknown
	w.end(topic, !asks)
	if asks {
		err = p.prepareAdmitted(m.message, &u.record, err == ErrInvalidPartition)
	}
	p.handOver(u, m.size, err)
}

// fail answers messages whose topic cannot be known: they have all waited for the same.
func (w *waitingTopics) fail(err error, messages ...waitingMessage) {
	for _, m := range messages {
		w.producer.fail(m.message, m.size, err)
	}
	w.done(messages...)
}

// wait waits until no line is left. Nobody puts messages in any more.
func (w *waitingTopics) wait() { w.ended.Wait() }
