package examplecheck

import (
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhatIsMissing(t *testing.T) {
	for _, test := range []struct {
		allowed []Allowed
		want    []string
	}{
		{nil, []string{
			"ExampleDoor has no Output, so it does not run",
			"Cellar is in no Example, and there is no reason why not",
			"Door is in no Example, and there is no reason why not",
			"EventIn is in no Example, and there is no reason why not",
			"EventUp is in no Example, and there is no reason why not",
		}},
		{[]Allowed{{"Event* Cellar", "small"}, {"Door", ""}, {"Money Attic", "big"}}, []string{
			"ExampleDoor has no Output, so it does not run",
			"Door is allowed without a reason",
			"Money is allowed, but has an Example",
			"Attic is allowed, but there is no such type",
		}},
	} {
		got, err := check("testdata/shop", "example.org/shop", test.allowed)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("got %q, %v, want %q", got, err, test.want)
		}
	}
}
