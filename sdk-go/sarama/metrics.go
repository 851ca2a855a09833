package sarama

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
)

// MetricRegistry holds what is counted, by name. Its methods are those of the Registry of
// github.com/rcrowley/go-metrics, whose values are MetricRegistries.
//
// These are counted, under sarama's names where it has them:
//
//	record-send-rate                messages that producers were given
//	record-send-rate-for-topic-T    the same of a topic, whose dots are underlines here
//	consumer-gaps                   gaps: messages that were deleted before they were read
//	consumer-gap-messages           how many messages these were
//	consumer-group-join-total-G     how often a member of a group has tried to join
//	consumer-group-join-failed-G    how often it has failed
//
// This package counts into what GetOrRegister gives for a name: anything that has the method Inc,
// Mark or Update of an int64, as go-metrics' counters, meters and histograms do. It offers a
// [*MetricCounter] for a name that has nothing yet. A registry of go-metrics does not keep that: a
// program that has such a registry registers its counters and meters in it before it makes clients.
type MetricRegistry interface {
	// Each calls a function for each metric.
	Each(func(string, any))

	// Get returns the metric of a name, nil for none.
	Get(string) any

	// GetAll returns the values of all metrics, by their names and those of the values.
	GetAll() map[string]map[string]any

	// GetOrRegister returns the metric of a name; it registers the one that is given if there is
	// none. That may be a function without parameters that makes it.
	GetOrRegister(string, any) any

	// Register registers a metric. A name that is in use is an error.
	Register(string, any) error

	// RunHealthchecks runs those metrics that are checks of health.
	RunHealthchecks()

	// Unregister takes a metric out.
	Unregister(string)

	// UnregisterAll takes all of them out.
	UnregisterAll()
}

// MetricCounter is a metric that counts. It is safe for use by many goroutines.
type MetricCounter struct{ n atomic.Int64 }

// Inc adds to the count.
func (c *MetricCounter) Inc(n int64) { c.n.Add(n) }

// Count returns the count.
func (c *MetricCounter) Count() int64 { return c.n.Load() }

// registry is the MetricRegistry of a config that was given none.
type registry struct {
	mu      sync.Mutex
	metrics map[string]any
}

// NewMetricRegistry makes an empty registry, for any metrics.
func NewMetricRegistry() MetricRegistry { return &registry{metrics: map[string]any{}} }

func (r *registry) Each(f func(string, any)) {
	for name, metric := range r.copied() {
		f(name, metric)
	}
}

// copied is what functions of the program are called with outside of the lock.
func (r *registry) copied() map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]any, len(r.metrics))
	for name, metric := range r.metrics {
		all[name] = metric
	}
	return all
}

func (r *registry) Get(name string) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.metrics[name]
}

// GetAll has the counts of what counts; other metrics have values that are not known here.
func (r *registry) GetAll() map[string]map[string]any {
	all := map[string]map[string]any{}
	for name, metric := range r.copied() {
		values := map[string]any{}
		if counter, ok := metric.(interface{ Count() int64 }); ok {
			values["count"] = counter.Count()
		}
		all[name] = values
	}
	return all
}

func (r *registry) GetOrRegister(name string, metric any) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	if found, ok := r.metrics[name]; ok {
		return found
	}
	if f := reflect.ValueOf(metric); f.Kind() == reflect.Func {
		metric = f.Call(nil)[0].Interface()
	}
	r.metrics[name] = metric
	return metric
}

func (r *registry) Register(name string, metric any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.metrics[name]; ok {
		return fmt.Errorf("duplicate metric: %s", name)
	}
	r.metrics[name] = metric
	return nil
}

func (r *registry) RunHealthchecks() {
	for _, metric := range r.copied() {
		if check, ok := metric.(interface{ Check() }); ok {
			check.Check()
		}
	}
}

func (r *registry) Unregister(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.metrics, name)
}

func (r *registry) UnregisterAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.metrics)
}

// count returns the function that counts into a metric of the config's registry. It is looked up
// once.
func (c *Config) count(name string) func(n int64) {
	if c.MetricRegistry == nil {
		return func(int64) {}
	}
	switch metric := c.MetricRegistry.GetOrRegister(name, new(MetricCounter)).(type) {
	case interface{ Mark(int64) }:
		return metric.Mark
	case interface{ Update(int64) }:
		return metric.Update
	case interface{ Inc(int64) }:
		return metric.Inc
	}
	return func(int64) {}
}
