package otelropewalk

import "testing"

// Topics and partitions without end do not fill the memory, and what was forgotten is as it was.
func TestSeriesAreBounded(t *testing.T) {
	c := cache{known: map[series]*measured{}}
	for partition := range int32(3 * mostSeries) {
		c.of(series{topic: "orders", partition: partition})
	}
	if n := len(c.known); n != mostSeries {
		t.Errorf("%d are remembered", n)
	}
	s := series{topic: "orders", partition: 1}
	if first, again := c.of(s), c.of(s); first != again {
		t.Error("it is made twice")
	}
}
