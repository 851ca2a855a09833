// Package examplecheck holds the documentation of a package to its word: each exported type is in
// an Example that runs, or there is a reason why not.
package examplecheck

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Allowed are types that need no Example.
type Allowed struct {
	// Names are those of the types, with spaces between them. A star stands for any part of a name:
	// "Hook*".
	Names string
	// Reason says why they need none.
	Reason string
}

// Run checks the package in the working directory, which is that of the test, by its import path.
// An Example shows a type if it has the type's name, as ExampleT and ExampleT_suffix, or if its code
// names the type. It counts only if it runs, so each must have an Output. What is allowed must
// exist, and have no Example.
func Run(t *testing.T, importPath string, allowed ...Allowed) {
	t.Helper()
	problems, err := check(".", importPath, allowed)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

// check returns what is wrong with the Examples of the package in a directory.
func check(dir, importPath string, allowed []Allowed) ([]string, error) {
	code, err := parse(dir, func(name string) bool { return !strings.HasSuffix(name, "_test.go") })
	if err != nil {
		return nil, err
	}
	tests, err := parse(dir, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	if err != nil {
		return nil, err
	}
	types, shown := exported(code), map[string]bool{}
	var problems []string
	for _, file := range tests {
		for _, example := range doc.Examples(file) {
			if example.Output == "" && !example.EmptyOutput {
				problems = append(problems,
					fmt.Sprintf("Example%s has no Output, so it does not run", example.Name))
				continue
			}
			name, _, _ := strings.Cut(example.Name, "_")
			shown[name] = true
			for _, name := range namedBy(file, example, importPath) {
				shown[name] = true
			}
		}
	}
	excused := map[string]bool{}
	for _, a := range allowed {
		problems = append(problems, a.excuse(types, shown, excused)...)
	}
	for _, name := range types {
		if !shown[name] && !excused[name] {
			problems = append(problems, name+" is in no Example, and there is no reason why not")
		}
	}
	return problems, nil
}

// excuse notes the types that are allowed, and returns what is wrong with the entry itself.
func (a Allowed) excuse(types []string, shown, excused map[string]bool) (problems []string) {
	if a.Reason == "" {
		problems = append(problems, a.Names+" is allowed without a reason")
	}
	for _, pattern := range strings.Fields(a.Names) {
		exists, needed := false, false
		for _, name := range types {
			if match, _ := path.Match(pattern, name); match {
				exists = true
				needed = needed || !shown[name]
				excused[name] = true
			}
		}
		switch {
		case !exists:
			problems = append(problems, pattern+" is allowed, but there is no such type")
		case !needed:
			problems = append(problems, pattern+" is allowed, but has an Example")
		}
	}
	return problems
}

func parse(dir string, wanted func(name string) bool) (files []*ast.File, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !wanted(name) {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// exported returns the names of the exported types, in order.
func exported(files []*ast.File) (names []string) {
	for _, file := range files {
		for _, declaration := range file.Decls {
			general, ok := declaration.(*ast.GenDecl)
			if !ok || general.Tok != token.TYPE {
				continue
			}
			for _, spec := range general.Specs {
				if name := spec.(*ast.TypeSpec).Name; name.IsExported() {
					names = append(names, name.Name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// namedBy returns what an Example names of the package: in its body, and in what it uses of its
// file.
func namedBy(file *ast.File, example *doc.Example, importPath string) (names []string) {
	local := localName(file, importPath)
	declared := declarations(file)
	seen := map[string]bool{}
	var visit func(node ast.Node)
	visit = func(node ast.Node) {
		ast.Inspect(node, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if of, ok := n.X.(*ast.Ident); ok && of.Name == local {
					names = append(names, n.Sel.Name)
					return false
				}
			case *ast.Ident:
				if !seen[n.Name] {
					seen[n.Name] = true
					for _, d := range declared[n.Name] {
						visit(d)
					}
				}
			}
			return true
		})
	}
	if body, ok := example.Code.(*ast.BlockStmt); ok {
		visit(body)
	} else {
		visit(example.Code) // the whole file is the Example
	}
	return names
}

// localName is the name that a file has for a package; empty where it does not import it.
func localName(file *ast.File, importPath string) string {
	for _, spec := range file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err != nil || p != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// declarations are those of a file by the names that they declare; methods are with their type.
func declarations(file *ast.File) map[string][]ast.Node {
	found := map[string][]ast.Node{}
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = receiver(d.Recv.List[0].Type)
			}
			found[name] = append(found[name], d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					found[s.Name.Name] = append(found[s.Name.Name], s)
				case *ast.ValueSpec:
					for _, name := range s.Names {
						found[name.Name] = append(found[name.Name], s)
					}
				}
			}
		}
	}
	return found
}

func receiver(expr ast.Expr) string {
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}
