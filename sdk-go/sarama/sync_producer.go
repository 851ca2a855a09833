package sarama

import (
	"context"
	"sync"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// SyncProducer produces messages and waits for each to be answered. It is safe for use by many
// goroutines, and works best when they share one: what they send while a batch is under way is the
// next batch. It must be closed.
//
// With Producer.Flush a message waits for others before it is sent, and so does its sender.
type SyncProducer interface {
	// SendMessage produces a message. After an error, partition and offset are -1. After Close that
	// is ErrShuttingDown.
	SendMessage(msg *ProducerMessage) (partition int32, offset int64, err error)
	// SendMessages produces messages together. If some fail, the error is a ProducerErrors, in
	// their order; the others are produced.
	SendMessages(msgs []*ProducerMessage) error
	// Close waits for what is under way. Closing again does nothing. It must be called before the
	// client is closed that the producer was made from.
	Close() error

	// TxnStatus is always ProducerTxnFlagUninitialized: there are no transactions yet.
	TxnStatus() ProducerTxnStatusFlag
	// IsTransactional is always false.
	IsTransactional() bool
	// BeginTxn returns ErrNonTransactedProducer, and so do the others.
	BeginTxn() error
	CommitTxn() error
	AbortTxn() error
	AddOffsetsToTxn(offsets map[string][]*PartitionOffsetMetadata, groupId string) error
	AddOffsetsToTxnWithGroupMetadata(
		offsets map[string][]*PartitionOffsetMetadata, groupMetadata *ConsumerGroupMetadata) error
	AddMessageToTxn(msg *ConsumerMessage, groupId string, metadata *string) error
	AddMessageToTxnWithGroupMetadata(
		msg *ConsumerMessage, groupMetadata *ConsumerGroupMetadata, metadata *string) error
}

type syncProducer struct{ *producer }

// NewSyncProducer connects to the brokers and makes a producer. A nil config stands for the
// defaults with Producer.Return.Successes.
func NewSyncProducer(addrs []string, config *Config) (SyncProducer, error) {
	if config == nil {
		config = NewConfig()
		config.Producer.Return.Successes = true
	}
	if err := checkReturns(config); err != nil {
		return nil, err
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	p, err := dialProducer(addrs, config)
	if err != nil {
		return nil, err
	}
	return &syncProducer{p}, nil
}

// NewSyncProducerFromClient makes a producer on a client, which the program closes itself, after
// the producer.
func NewSyncProducerFromClient(client Client) (SyncProducer, error) {
	if err := checkReturns(client.Config()); err != nil {
		return nil, err
	}
	p, err := shareProducer(client)
	if err != nil {
		return nil, err
	}
	return &syncProducer{p}, nil
}

// checkReturns has a config say what a SyncProducer does, as sarama wants it.
func checkReturns(config *Config) error {
	if !config.Producer.Return.Errors {
		return ConfigurationError("Producer.Return.Errors must be true to be used in a SyncProducer")
	}
	if !config.Producer.Return.Successes {
		return ConfigurationError(
			"Producer.Return.Successes must be true to be used in a SyncProducer")
	}
	return nil
}

// A waiter is a message whose sender waits for it. It is used again, with all that it has.
type waiter struct {
	record ropewalk.Record
	ack    ropewalk.Ack
	err    error
	ready  chan struct{}
	done   func(*ropewalk.Record, ropewalk.Ack, error)
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{ready: make(chan struct{}, 1)}
	w.done = w.answered
	return w
}}

func (w *waiter) answered(_ *ropewalk.Record, ack ropewalk.Ack, err error) {
	w.ack, w.err = ack, err
	w.ready <- struct{}{}
}

// send hands a message to the core, unless the waiter has its error already.
func (p *syncProducer) send(m *ProducerMessage) *waiter {
	w := waiters.Get().(*waiter)
	err := p.prepare(m, &w.record)
	if err == nil {
		err = p.core.SendAsync(context.Background(), &w.record, w.done)
	}
	if err != nil {
		w.answered(nil, ropewalk.Ack{}, err)
	}
	return w
}

// wait waits for a message's answer, and gives the waiter back.
func (p *syncProducer) wait(w *waiter, m *ProducerMessage) error {
	<-w.ready
	ack, err := w.ack, w.err
	w.record = ropewalk.Record{Headers: cleared(w.record.Headers)}
	w.err = nil
	waiters.Put(w)
	if err != nil {
		return p.failure(err)
	}
	p.answered(m, ack)
	return nil
}

// cleared keeps an array for other headers.
func cleared(headers []ropewalk.Header) []ropewalk.Header {
	clear(headers)
	return headers[:0]
}

func (p *syncProducer) SendMessage(msg *ProducerMessage) (int32, int64, error) {
	if err := p.wait(p.send(msg), msg); err != nil {
		return -1, -1, err
	}
	return msg.Partition, msg.Offset, nil
}

func (p *syncProducer) SendMessages(msgs []*ProducerMessage) error {
	waiting := make([]*waiter, len(msgs))
	for i, msg := range msgs {
		waiting[i] = p.send(msg)
	}
	var errs ProducerErrors
	for i, msg := range msgs {
		if err := p.wait(waiting[i], msg); err != nil {
			errs = append(errs, &ProducerError{Msg: msg, Err: err})
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

func (p *syncProducer) Close() error {
	p.finish()
	return nil
}
