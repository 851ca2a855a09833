package surface_test

import (
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/sdk-go/sarama/compat/surface"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCompareTellsWhatDiffers(t *testing.T) {
	want := surface.Names{
		"func New": "func() (error)", "const A": "int = 1", "type Gone": "struct",
		"field Gone.F": "int", "type I": "interface", "method I.M": "func() ()",
		"type T": "struct", "method T.P": "func() () of *T", "method T.V": "func() ()",
	}
	got := surface.Names{
		"func New": "func(string) (error)", "const A": "int = 2", "func More": "func() ()",
		"type I": "interface", "method I.M": "func() ()", "method I.More": "func() ()",
		"type T": "struct", "method T.P": "func() ()", "method T.V": "func() () of *T",
	}
	var names []string
	for _, d := range surface.Compare(got, want) {
		names = append(names, d.String())
	}
	if !slices.Equal(names, []string{
		"const A: is int = 2, want int = 1",
		"func New: is func(string) (error), want func() (error)",
		"method T.V: is func() () of *T, want func() ()",
		"type Gone: missing: struct",
		"method I.More: asked of every implementation: func() ()",
	}) {
		t.Errorf("got %q", names)
	}
}

func TestSiftKnowsWhatIsNotNeeded(t *testing.T) {
	all := []surface.Difference{
		{Name: "type FetchRequest"}, {Name: "method Broker.Fetch"}, {Name: "func NewX"},
	}
	rest, idle := surface.Sift(all, surface.Allowances(`
# Wire messages
# have no counterpart.
type *Request
method Broker.*

# Long done.
type Old*
`))
	if len(rest) != 1 || rest[0].Name != "func NewX" {
		t.Errorf("not allowed: %v", rest)
	}
	if len(idle) != 1 || idle[0] != (surface.Allowance{Pattern: "type Old*", Reason: "Long done."}) {
		t.Errorf("not needed: %v", idle)
	}
}

func TestLoadSpellsWhatIsExported(t *testing.T) {
	const path = "errors"
	found, err := surface.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := surface.Names{
		"func Join":          "func(...error) (error)",
		"var ErrUnsupported": "error",
	}
	for name, want := range want {
		if got := found[path][name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
