package sarama

import (
	"sync"
	"sync/atomic"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const (
	// maxUnread is how many bytes of messages may have come back and not be in a channel yet: a
	// producer takes no more while it is more. What the core has then adds to it, which is bounded
	// too. So the memory is bounded, and the core never waits for the program.
	maxUnread = 16 << 20
	// weightOfMessage is what a message counts beside its bytes.
	weightOfMessage = 256
	// maxKept is how many results an array may hold that is used again.
	maxKept = 16 << 10
)

// A result is what became of a message.
type result struct {
	message *ProducerMessage
	err     error
	weight  int64
}

func weightOf(record *ropewalk.Record) int64 {
	size := len(record.Key) + len(record.Value)
	for i := range record.Headers {
		size += len(record.Headers[i].Key) + len(record.Headers[i].Value)
	}
	return weightOfSize(size)
}

func weightOfSize(size int) int64 { return int64(size) + weightOfMessage }

// results stands between the core, which must not wait, and the channels of a producer, which may
// be read slowly. Results are taken in batches, by one goroutine.
type results struct {
	// unread is the weight of what is queued or taken, and not read.
	unread atomic.Int64
	// wake tells the taker that there is something; room tells whoever waits that there is less.
	wake, room chan struct{}
	waiting    atomic.Bool

	mu       sync.Mutex
	queue    []result
	taken    []result
	finished bool // nothing more comes from the core
	closed   bool // the taker was told so
}

func newResults() *results {
	return &results{wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds a result; it reports false once the taker has gone.
func (q *results) put(r result) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.unread.Add(r.weight)
	first := len(q.queue) == 0
	q.queue = append(q.queue, r)
	q.mu.Unlock()
	if first {
		signal(q.wake)
	}
	return true
}

// complete says that nothing more comes from the core.
func (q *results) complete() {
	q.mu.Lock()
	q.finished = true
	q.mu.Unlock()
	signal(q.wake)
}

// take waits for results and returns them, in order; nil when there will be none any more. They are
// the taker's until it calls take again.
func (q *results) take() []result {
	for {
		q.mu.Lock()
		if len(q.queue) > 0 {
			if cap(q.taken) > maxKept {
				q.taken = nil // made for a burst
			}
			q.queue, q.taken = q.taken[:0], q.queue
			taken := q.taken
			q.mu.Unlock()
			return taken
		}
		q.closed = q.finished
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return nil
		}
		<-q.wake
	}
}

// read says that a result is in its channel.
func (q *results) read(weight int64) {
	if q.unread.Add(-weight) <= maxUnread/2 && q.waiting.Load() {
		signal(q.room)
	}
}

// awaitRoom waits while there is too much that is not read. One goroutine calls it.
func (q *results) awaitRoom() {
	if q.unread.Load() <= maxUnread {
		return
	}
	q.waiting.Store(true)
	defer q.waiting.Store(false)
	for q.unread.Load() > maxUnread/2 { // not for each message that is read
		<-q.room
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
