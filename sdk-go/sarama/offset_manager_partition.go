package sarama

import ropewalk "github.com/ropewalk/ropewalk/sdk-go"

// PartitionOffsetManager keeps the committed offset of one partition. It must be closed.
type PartitionOffsetManager interface {
	// NextOffset is the offset of the next message to read, with its metadata: what is committed or
	// marked, or Consumer.Offsets.Initial when there is nothing.
	NextOffset() (int64, string)

	// MarkOffset marks the offset of the next message to read, to be committed. It goes only
	// forward: a lower offset than the one that is marked does nothing. Metadata is kept beside it.
	MarkOffset(offset int64, metadata string)

	// ResetOffset is MarkOffset that goes only back: a higher offset does nothing.
	ResetOffset(offset int64, metadata string)

	// Errors is the channel of errors, if Consumer.Return.Errors is set: what finds no room in it
	// is logged. Otherwise errors are logged. It is closed at the end.
	Errors() <-chan *ConsumerError

	// AsyncClose begins to close; Errors is closed when what is marked is committed. With
	// Consumer.Offsets.AutoCommit that is at once: a commit that is refused is tried again
	// Consumer.Offsets.Retry.Max times, for no longer than Net.ReadTimeout, and then given up, with
	// its errors on Errors. sarama tries until its offset manager is closed. Without AutoCommit it
	// is with the next Commit of the offset manager that succeeds, or with its Close.
	AsyncClose()

	// Close is AsyncClose, waits for the end, and returns the errors that nobody has read as a
	// ConsumerErrors. Without AutoCommit it must not be waited for before the Commit is called, or
	// the Close of the offset manager, that it waits for.
	Close() error
}

type partitionOffsetManager struct {
	parent *offsetManager
	place  ropewalk.TopicPartition
	marks  marks
	errors chan *ConsumerError
	// done: it is closed by the program. The parent's lock guards it.
	done bool
}

func (p *partitionOffsetManager) NextOffset() (int64, string) {
	if offset, metadata := p.marks.get(); offset >= 0 {
		return offset, metadata
	}
	return p.parent.config.Consumer.Offsets.Initial, ""
}

func (p *partitionOffsetManager) MarkOffset(offset int64, metadata string) {
	p.marks.mark(offset, metadata)
}

func (p *partitionOffsetManager) ResetOffset(offset int64, metadata string) {
	p.marks.reset(offset, metadata)
}

func (p *partitionOffsetManager) Errors() <-chan *ConsumerError { return p.errors }

func (p *partitionOffsetManager) AsyncClose() {
	p.parent.mu.Lock()
	p.done = true
	p.parent.mu.Unlock()
	p.parent.releaseDone(nil)
	select {
	case p.parent.wake <- struct{}{}:
	default:
	}
}

func (p *partitionOffsetManager) Close() error {
	p.AsyncClose()
	var errs ConsumerErrors
	for err := range p.errors {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// report passes an error to the program, or to the log if it does not want them. The commit that it
// came with keeps the channel open.
func (p *partitionOffsetManager) report(err error) {
	e := &ConsumerError{Topic: p.place.Topic, Partition: p.place.Partition, Err: err}
	if !p.parent.config.Consumer.Return.Errors {
		Logger.Println(e)
		return
	}
	select {
	case p.errors <- e:
	default:
		Logger.Println("nobody reads the errors:", e)
	}
}
