package ropewalk

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
)

// A SendInterceptor sees each record that a producer is given, and learns what became of it: for
// headers, tracing and counting. Several are called in the order in which they were given, and so are
// their outcomes. The idea is that of Kafka's ProducerInterceptor (KIP-42). One that panics is logged as
// an error, and the record goes on as it was left: an interceptor never makes a record fail.
type SendInterceptor interface {
	// OnSend sees a record before it is placed and encoded, once, however often its batch is sent. It
	// runs within Send, SendAsync or Append, with their context: the trace that the caller is part of is
	// the record's. It may change the record's Headers; the record is a copy, of which nothing else is
	// sent, and Key and Value are the caller's, to be left as they are.
	//
	// What it returns, unless that is nil, is called once, when it is known what became of the record:
	// where it is, or why it is not there, with [OutcomeMaybe] for what is not known. That comes for
	// every record, also for one that was not accepted, and for one whose caller gave up; and before
	// Send, Append or the done of SendAsync say it. It may run in a goroutine of the producer, which does
	// nothing else meanwhile: it must not block, nor send with this producer.
	OnSend(ctx context.Context, record *Record) func(Ack, error)
}

// A SendInterceptorFunc is a [SendInterceptor] that is one function.
type SendInterceptorFunc func(ctx context.Context, record *Record) func(Ack, error)

// OnSend calls the function.
func (f SendInterceptorFunc) OnSend(ctx context.Context, record *Record) func(Ack, error) {
	return f(ctx, record)
}

// A ReceiveInterceptor sees each record before a consumer hands it out. Several are called in the order
// in which they were given. One that panics is logged as an error, and the record is handed out all the
// same.
type ReceiveInterceptor interface {
	// OnReceive sees a record just before it is handed out, once: within Next and Poll, with their
	// context. It must leave the record as it is.
	OnReceive(ctx context.Context, record *Record)
}

// A ReceiveInterceptorFunc is a [ReceiveInterceptor] that is one function.
type ReceiveInterceptorFunc func(ctx context.Context, record *Record)

// OnReceive calls the function.
func (f ReceiveInterceptorFunc) OnReceive(ctx context.Context, record *Record) { f(ctx, record) }

// WithSendInterceptor has interceptors see each record that is sent, after those that were given before.
// Default: none.
func WithSendInterceptor(interceptors ...SendInterceptor) ProducerOption {
	return func(c *producerConfig) { c.interceptors = append(c.interceptors, interceptors...) }
}

// WithReceiveInterceptor has interceptors see each record that is handed out, after those that were
// given before. Default: none.
func WithReceiveInterceptor(interceptors ...ReceiveInterceptor) ConsumerOption {
	return func(c *consumerConfig) { c.interceptors = append(c.interceptors, interceptors...) }
}

// GroupReceiveInterceptor is [WithReceiveInterceptor] for a member of a consumer group.
func GroupReceiveInterceptor(interceptors ...ReceiveInterceptor) GroupOption {
	return func(c *groupConfig) { c.interceptors = append(c.interceptors, interceptors...) }
}

// onSend shows a record to the producer's interceptors. It returns the record to send, and whom to tell
// what became of it: nil when nobody wants to know.
func (p *Producer) onSend(ctx context.Context, record *Record) (*Record, func(Ack, error)) {
	if len(p.config.interceptors) == 0 {
		return record, nil
	}
	sent := *record
	sent.Headers = slices.Clone(record.Headers) // the caller may send its record again
	var outcomes []func(Ack, error)
	for _, interceptor := range p.config.interceptors {
		shown := sent
		unharmed(p.client.log, "an interceptor", func() {
			if outcome := interceptor.OnSend(ctx, &shown); outcome != nil {
				outcomes = append(outcomes, outcome)
			}
		})
		sent.Headers = shown.Headers
	}
	if len(outcomes) == 0 {
		return &sent, nil
	}
	return &sent, func(ack Ack, err error) {
		for _, outcome := range outcomes {
			unharmed(p.client.log, "an interceptor", func() { outcome(ack, err) })
		}
	}
}

// onReceive shows records that are about to be handed out.
func (c *Client) onReceive(ctx context.Context, to []ReceiveInterceptor, records []Record) {
	if len(to) == 0 {
		return
	}
	for i := range records {
		for _, interceptor := range to {
			unharmed(c.log, "an interceptor", func() { interceptor.OnReceive(ctx, &records[i]) })
		}
	}
}

// unharmed calls an interceptor or a hook, which may panic.
func unharmed(log *slog.Logger, what string, call func()) {
	defer func() {
		if cause := recover(); cause != nil {
			log.Error("ropewalk: "+what+" panicked", "panic", cause, "stack", string(debug.Stack()))
		}
	}()
	call()
}
