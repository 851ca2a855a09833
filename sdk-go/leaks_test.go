package ropewalk_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every package with tests, in this module and in those within it, looks for goroutines that
// outlive its tests.
func TestEveryPackageLooksForLeaks(t *testing.T) {
	const verify = "goleak." + "VerifyTestMain(m" // in two, so as not to find itself
	looks := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == ".bin") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder := filepath.Dir(path)
		looks[folder] = looks[folder] || strings.Contains(string(source), verify)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var without []string
	for folder, does := range looks {
		if !does {
			without = append(without, folder)
		}
	}
	slices.Sort(without)
	if len(without) > 0 {
		t.Errorf("no TestMain with goleak.VerifyTestMain(m) in %s", strings.Join(without, ", "))
	}
	if len(looks) < 4 {
		t.Errorf("only %d packages with tests were found", len(looks))
	}
}
