package surface

import (
	"path"
	"slices"
	"strings"
)

// An Allowance is a difference, or a pattern of them, that is meant to be.
type Allowance struct {
	// Pattern is the name of a difference; * stands for any letters but a dot.
	Pattern string
	// Reason says why.
	Reason string
}

// Allowances reads a list of them: lines that begin with # give the reason of the patterns after
// them.
func Allowances(text string) []Allowance {
	var all []Allowance
	var reason []string
	done := true
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		comment, ok := strings.CutPrefix(line, "#")
		switch {
		case ok && done:
			reason, done = []string{strings.TrimSpace(comment)}, false
		case ok:
			reason = append(reason, strings.TrimSpace(comment))
		case line != "":
			all = append(all, Allowance{line, strings.Join(reason, " ")})
			done = true
		}
	}
	return all
}

// Sift returns the differences that are not allowed, and the allowances that no difference needs.
func Sift(all []Difference, allowed []Allowance) (rest []Difference, idle []Allowance) {
	used := make([]bool, len(allowed))
	for _, difference := range all {
		var found bool
		for i, allowance := range allowed {
			if allowance.matches(difference.Name) {
				used[i], found = true, true
			}
		}
		if !found {
			rest = append(rest, difference)
		}
	}
	for i, allowance := range allowed {
		if !used[i] {
			idle = append(idle, allowance)
		}
	}
	return rest, slices.Clip(idle)
}

func (a Allowance) matches(name string) bool {
	// path.Match has * stand for all but slashes.
	ok, _ := path.Match(strings.ReplaceAll(a.Pattern, ".", "/"), strings.ReplaceAll(name, ".", "/"))
	return ok
}
