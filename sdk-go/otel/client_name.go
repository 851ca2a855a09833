package otelropewalk

import (
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// A clientName is what the clients call themselves that a Telemetry serves. Nothing tells of a
// record which of them it is of: where they have several names, none is right.
type clientName struct{ told atomic.Pointer[string] }

// note takes the name of a client, which each of its connections tells.
func (c *clientName) note(name string) {
	if !c.told.CompareAndSwap(nil, &name) && *c.told.Load() != name {
		c.told.Store(new(string))
	}
}

// attributes are what spans say of it.
func (c *clientName) attributes() []attribute.KeyValue {
	if name := c.told.Load(); name != nil && *name != "" {
		return []attribute.KeyValue{semconv.MessagingClientID(*name)}
	}
	return nil
}
