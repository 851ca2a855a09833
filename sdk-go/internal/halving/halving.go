// Package halving does things together of which one may have all refused.
package halving

// mostCalls bounds the calls that are made to find which of many things are refused.
const mostCalls = 64

// Each does something with all items together. Where that is refused for one of them, which isOfOne
// says of the error, it does it with each half, and so on; after any other error nothing more is
// tried. It returns the error of each item, nil for one that it is done with.
func Each[T any](items []T, do func([]T) error, isOfOne func(error) bool) []error {
	errs := make([]error, len(items))
	type span struct{ from, to int }
	spans := []span{{0, len(items)}}
	goesOn := len(items) > 0
	for calls := 1; goesOn && len(spans) > 0; calls++ {
		s := spans[len(spans)-1]
		spans = spans[:len(spans)-1]
		err := do(items[s.from:s.to])
		if err == nil {
			continue
		}
		goesOn = isOfOne(err) && calls < mostCalls
		if half := (s.from + s.to) / 2; goesOn && half > s.from {
			spans = append(spans, span{half, s.to}, span{s.from, half})
			continue
		}
		if !goesOn {
			s.to = len(items) // the spans that are left are those behind it
		}
		for i := s.from; i < s.to; i++ {
			errs[i] = err
		}
	}
	return errs
}
