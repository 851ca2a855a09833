package sarama_test

import (
	"sync"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

type healthcheck struct{ checked int }

func (h *healthcheck) Check() { h.checked++ }

func TestMetricRegistry(t *testing.T) {
	registry := sarama.NewMetricRegistry()
	made := 0
	lazy := func() *sarama.MetricCounter { made++; return new(sarama.MetricCounter) }
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { registry.GetOrRegister("a", lazy).(*sarama.MetricCounter).Inc(2) })
	}
	all.Wait()
	if counter := registry.Get("a").(*sarama.MetricCounter); counter.Count() != 20 || made != 1 {
		t.Errorf("counted %d with %d counters", counter.Count(), made)
	}
	check := &healthcheck{}
	if err := registry.Register("b", check); err != nil {
		t.Error(err)
	}
	if err := registry.Register("b", check); err == nil {
		t.Error("a name was registered twice")
	}
	registry.RunHealthchecks()
	if check.checked != 1 {
		t.Errorf("checked %d times", check.checked)
	}
	if values := registry.GetAll(); values["a"]["count"] != int64(20) || len(values) != 2 {
		t.Errorf("values %v", values)
	}
	registry.Each(func(name string, _ any) { registry.Unregister(name) }) // it may be used within
	if found := registry.Get("a"); found != nil {
		t.Errorf("found %v", found)
	}
	registry.GetOrRegister("c", new(sarama.MetricCounter))
	registry.UnregisterAll()
	registry.Each(func(name string, _ any) { t.Errorf("%s is left", name) })
}
