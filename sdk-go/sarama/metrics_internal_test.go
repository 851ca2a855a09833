package sarama

import "testing"

// What is counted goes into whatever metric a program has registered for it.
func TestCount(t *testing.T) {
	config := NewConfig()
	meter, histogram := &marked{}, &updated{}
	config.MetricRegistry.GetOrRegister("meter", meter)
	config.MetricRegistry.GetOrRegister("histogram", histogram)
	config.MetricRegistry.GetOrRegister("text", "no metric")
	for _, name := range []string{"meter", "histogram", "text", "new"} {
		config.count(name)(3)
	}
	counter := config.MetricRegistry.Get("new").(*MetricCounter)
	if meter.n != 3 || histogram.n != 3 || counter.Count() != 3 {
		t.Errorf("counted %d, %d and %d", meter.n, histogram.n, counter.Count())
	}
	config.MetricRegistry = nil
	config.count("nowhere")(3)
}

type marked struct{ n int64 }

func (m *marked) Mark(n int64) { m.n += n }

type updated struct{ n int64 }

func (u *updated) Update(n int64) { u.n = n }
