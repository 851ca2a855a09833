package ropewalk_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exported are the names of the package, and of methods and fields with their type before them.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	p, err := doc.NewFromFiles(set, files, "ropewalk")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	values := func(list []*doc.Value) {
		for _, v := range list {
			for _, name := range v.Names {
				names[name] = true
			}
		}
	}
	functions := func(list []*doc.Func) {
		for _, f := range list {
			names[f.Name] = true
		}
	}
	values(p.Consts)
	values(p.Vars)
	functions(p.Funcs)
	for _, kind := range p.Types {
		names[kind.Name] = true
		values(kind.Consts)
		functions(kind.Funcs)
		for _, method := range kind.Methods {
			names[kind.Name+"."+method.Name] = true
		}
		ast.Inspect(kind.Decl, func(n ast.Node) bool {
			if field, ok := n.(*ast.Field); ok {
				for _, name := range field.Names {
					names[kind.Name+"."+name.Name] = true
				}
			}
			return true
		})
	}
	return names
}

var (
	inCode = regexp.MustCompile("`([^`]+)`")
	aName  = regexp.MustCompile(`\b(?:ropewalk\.)?([A-Z][A-Za-z]+(?:\.[A-Z][A-Za-z]+)?)\b`)
)

// What MIGRATION.md says that there is, in the second columns of its tables, is there.
func TestMigrationNamesWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("MIGRATION.md")
	if err != nil {
		t.Fatal(err)
	}
	names, checked := exported(t), 0
	for _, row := range strings.Split(string(text), "\n") {
		cells := strings.Split(row, " | ")
		if !strings.HasPrefix(row, "| ") || len(cells) < 2 {
			continue
		}
		for _, code := range inCode.FindAllStringSubmatch(cells[1], -1) {
			for _, name := range aName.FindAllStringSubmatch(code[1], -1) {
				checked++
				if !names[name[1]] {
					t.Errorf("there is no %s: %s", name[1], row)
				}
			}
		}
	}
	if checked < 200 {
		t.Errorf("only %d names were found", checked)
	}
}
