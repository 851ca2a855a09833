package ropewalk

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"
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

// A DeliveryInterceptor sees what each call of Next and Poll hands out: for spans, which are made for
// a call and not for each of its records. Several are called in the order in which they were given,
// after those that see each record. One that panics is logged as an error, and the records are handed
// out all the same.
type DeliveryInterceptor interface {
	// OnDelivery is called within Next and Poll when they hand out records, with their context. It must
	// leave the records as they are, and not keep the slice.
	OnDelivery(ctx context.Context, delivery Delivery)
}

// A DeliveryInterceptorFunc is a [DeliveryInterceptor] that is one function.
type DeliveryInterceptorFunc func(ctx context.Context, delivery Delivery)

// OnDelivery calls the function.
func (f DeliveryInterceptorFunc) OnDelivery(ctx context.Context, delivery Delivery) {
	f(ctx, delivery)
}

// A Delivery is what one call of Next or Poll hands out.
type Delivery struct {
	// Records are handed out: at least one, all of one partition, with Next exactly one.
	Records []Record
	// Group is the consumer group of a member; empty for a consumer without one.
	Group string
	// Address is where the broker is that they came from, HOST:PORT.
	Address string
	// Began is when the call began, which may have waited since.
	Began time.Time
}

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

// WithDeliveryInterceptor has interceptors see what each call of Next and Poll hands out, after those
// that were given before. Default: none.
func WithDeliveryInterceptor(interceptors ...DeliveryInterceptor) ConsumerOption {
	return func(c *consumerConfig) { c.deliveries = append(c.deliveries, interceptors...) }
}

// GroupDeliveryInterceptor is [WithDeliveryInterceptor] for a member of a consumer group.
func GroupDeliveryInterceptor(interceptors ...DeliveryInterceptor) GroupOption {
	return func(c *groupConfig) { c.deliveries = append(c.deliveries, interceptors...) }
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

// beganFor is now, where an interceptor is to be told it.
func beganFor(to []DeliveryInterceptor) time.Time {
	if len(to) == 0 {
		return time.Time{}
	}
	return time.Now()
}

// onDelivery shows what a call is about to hand out.
func (c *Client) onDelivery(ctx context.Context, to []DeliveryInterceptor, delivery Delivery) {
	for _, interceptor := range to {
		unharmed(c.log, "an interceptor", func() { interceptor.OnDelivery(ctx, delivery) })
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
