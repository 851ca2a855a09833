package otelropewalk

import (
	"slices"

	"go.opentelemetry.io/otel/propagation"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A Carrier has a propagator read and write the headers of a record.
type Carrier struct{ Record *ropewalk.Record }

var _ propagation.TextMapCarrier = Carrier{}

// Get returns the value of the first header with a key; empty where there is none.
func (c Carrier) Get(key string) string {
	for i := range c.Record.Headers {
		if h := &c.Record.Headers[i]; h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// Set has the record have one header with a key: a record that is passed on loses the one that it
// came with. The record gets another slice of headers: the one that it had may be that of others.
func (c Carrier) Set(key, value string) {
	c.remove(key)
	headers := c.Record.Headers
	c.Record.Headers = append(headers[:len(headers):len(headers)],
		ropewalk.Header{Key: key, Value: []byte(value)})
}

// remove has the record have no header with one of some keys.
func (c Carrier) remove(keys ...string) {
	is := func(h ropewalk.Header) bool { return slices.Contains(keys, h.Key) }
	if slices.ContainsFunc(c.Record.Headers, is) {
		c.Record.Headers = slices.DeleteFunc(slices.Clone(c.Record.Headers), is)
	}
}

// Keys returns the keys of all headers.
func (c Carrier) Keys() []string {
	keys := make([]string, len(c.Record.Headers))
	for i := range c.Record.Headers {
		keys[i] = c.Record.Headers[i].Key
	}
	return keys
}
