// Package halving does things together of which one may have all refused.
package halving

// mostCalls bounds the calls that Each makes to find which of many things are refused. Behind it
// each part that is left has one more call.
const mostCalls = 64

// A Result is what became of an item.
type Result struct {
	// Err is nil for an item that it is done with.
	Err error
	// Alone: the error is of this item. Otherwise it may be of another one that was with it.
	Alone bool
}

// Each does something with all items together. Where that is refused for one of them, which isOfOne
// says of the error, it does it with each half, and so on; after any other error nothing more is
// tried. It returns what became of each item.
func Each[T any](items []T, do func([]T) error, isOfOne func(error) bool) []Result {
	results := make([]Result, len(items))
	type span struct{ from, to int }
	spans := []span{{0, len(items)}} // the first is the last of them
	for calls := 1; len(items) > 0 && len(spans) > 0; calls++ {
		s := spans[len(spans)-1]
		spans = spans[:len(spans)-1]
		err := do(items[s.from:s.to])
		if err == nil {
			continue
		}
		result := Result{Err: err, Alone: s.to == s.from+1}
		switch {
		case !isOfOne(err):
			s.to, spans = len(items), nil // all spans that are left are behind it
			result.Alone = false
		case !result.Alone && calls < mostCalls:
			half := (s.from + s.to) / 2
			spans = append(spans, span{half, s.to}, span{s.from, half})
			continue
		}
		for i := s.from; i < s.to; i++ {
			results[i] = result
		}
	}
	return results
}
