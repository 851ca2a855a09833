package halving_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/sdk-go/internal/halving"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
			results := halving.Each(numbers(test.items), func(items []int) error {
				calls++
				if slices.ContainsFunc(items, func(i int) bool { return slices.Contains(test.refused, i) }) {
					return errOne
				}
				done = append(done, items...)
				return nil
			}, isOfOne)
			var refused, want []int
			for i, result := range results {
				if result.Err != nil && result.Alone {
					refused = append(refused, i)
				} else if result.Err == nil {
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

// An error that is of all of them ends it: what is not done then has an error.
func TestEachEnds(t *testing.T) {
	for name, test := range map[string]struct {
		items, calls, done int
		last               error
	}{
		"an error of all": {8, 4, 0, errAll},
		"after some":      {8, 4, 1, errAll},
	} {
		t.Run(name, func(t *testing.T) {
			calls, done := 0, 0
			results := halving.Each(numbers(test.items), func(items []int) error {
				switch calls++; {
				case len(items) > 1:
					return errOne
				case done < test.done:
					done++
					return nil
				}
				return fmt.Errorf("call %d: %w", calls, test.last)
			}, isOfOne)
			for i, result := range results {
				if (result.Err == nil) != (i < done) || result.Alone {
					t.Errorf("what became of %d is %v", i, result)
				}
			}
			if done != test.done || calls > test.calls+test.done {
				t.Errorf("%d are done, with %d calls", done, calls)
			}
		})
	}
}

// Where too many are refused, some of the others stay undone, and nothing is said of those alone.
func TestEachIsBounded(t *testing.T) {
	isRefused := func(i int) bool { return i%10 == 3 }
	calls, done := 0, map[int]bool{}
	results := halving.Each(numbers(1000), func(items []int) error {
		calls++
		if slices.ContainsFunc(items, isRefused) {
			return errOne
		}
		for _, i := range items {
			done[i] = true
		}
		return nil
	}, isOfOne)
	if calls > 64+10 { // as often as 1000 can be halved
		t.Errorf("%d calls were made", calls)
	}
	undone := 0
	for i, result := range results {
		if done[i] != (result.Err == nil) || result.Alone && !isRefused(i) {
			t.Errorf("what became of %d is %v", i, result)
		}
		if !done[i] && !isRefused(i) {
			undone++
		}
	}
	if undone == 0 || len(done) == 0 {
		t.Errorf("%d are done, %d are not", len(done), undone)
	}
}
