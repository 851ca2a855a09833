package halving_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/internal/halving"
)

var (
	errOne = errors.New("one of them")
	errAll = errors.New("all of them")
)

func isOfOne(err error) bool { return errors.Is(err, errOne) }

func numbers(n int) []int {
	items := make([]int, n)
	for i := range items {
		items[i] = i
	}
	return items
}

// What is refused by itself is found with few calls, and all else is done, once and in order.
func TestEach(t *testing.T) {
	for name, test := range map[string]struct {
		items, calls int
		refused      []int
	}{
		"nothing":               {0, 0, nil},
		"all is done":           {1000, 1, nil},
		"one, which is refused": {1, 1, []int{0}},
		"one of many":           {1000, 21, []int{617}},
		"two of them":           {8, 13, []int{0, 7}},
		"every one":             {8, 15, numbers(8)},
	} {
		t.Run(name, func(t *testing.T) {
			calls, done := 0, []int(nil)
			errs := halving.Each(numbers(test.items), func(items []int) error {
				calls++
				if slices.ContainsFunc(items, func(i int) bool { return slices.Contains(test.refused, i) }) {
					return errOne
				}
				done = append(done, items...)
				return nil
			}, isOfOne)
			var refused, want []int
			for i, err := range errs {
				if err != nil {
					refused = append(refused, i)
				} else {
					want = append(want, i)
				}
			}
			if !slices.Equal(refused, test.refused) || !slices.Equal(done, want) {
				t.Errorf("refused are %v; done are %d", refused, len(done))
			}
			if calls > test.calls {
				t.Errorf("%d calls were made", calls)
			}
		})
	}
}

// An error that is of all of them ends it, and so does a bound on the calls: what is not done then
// has an error.
func TestEachEnds(t *testing.T) {
	for name, test := range map[string]struct {
		items, calls, done int
		last               error
	}{
		"an error of all":  {8, 4, 0, errAll},
		"too many of them": {1000, 64, 0, nil},
		"after some":       {8, 4, 1, errAll},
	} {
		t.Run(name, func(t *testing.T) {
			calls, done := 0, 0
			errs := halving.Each(numbers(test.items), func(items []int) error {
				switch calls++; {
				case len(items) > 1:
					return errOne
				case test.last == nil:
					return errOne
				case done < test.done:
					done++
					return nil
				}
				return fmt.Errorf("call %d: %w", calls, test.last)
			}, isOfOne)
			for i, err := range errs {
				if (err == nil) != (i < done) {
					t.Errorf("%d has the error %v", i, err)
				}
			}
			if done != test.done || calls > test.calls+test.done {
				t.Errorf("%d are done, with %d calls", done, calls)
			}
		})
	}
}
