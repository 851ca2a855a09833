// Package surface tells what a Go package exports, in a form that can be compared with another's.
package surface

import (
	"bytes"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Names are what a package exports: its name with its kind, such as "func New", and what it is.
type Names map[string]string

// Load tells what packages export, by their paths. Each is compiled first.
func Load(paths ...string) (map[string]Names, error) {
	exports, err := compiled(paths)
	if err != nil {
		return nil, err
	}
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	from := importer.ForCompiler(token.NewFileSet(), "gc", lookup)
	found := map[string]Names{}
	for _, path := range paths {
		pkg, err := from.Import(path)
		if err != nil {
			return nil, err
		}
		found[path] = namesOf(pkg)
	}
	return found, nil
}

// compiled returns the files with the export data of packages and of all that they import.
func compiled(paths []string) (map[string]string, error) {
	const form = "{{.ImportPath}}\t{{.Export}}"
	args := append([]string{"list", "-export", "-deps", "-f", form}, paths...)
	command := exec.Command("go", args...)
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, complaint.String())
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		exports[path] = file
	}
	return exports, nil
}

func namesOf(pkg *types.Package) Names {
	names := Names{}
	for _, name := range pkg.Scope().Names() {
		object := pkg.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		switch object := object.(type) {
		case *types.Const:
			names["const "+name] = spell(object.Type()) + " = " + object.Val().ExactString()
		case *types.Var:
			names["var "+name] = spell(object.Type())
		case *types.Func:
			names["func "+name] = spell(object.Type())
		case *types.TypeName:
			names.addType(object)
		}
	}
	return names
}

func (n Names) addType(object *types.TypeName) {
	name := object.Name()
	switch under := object.Type().Underlying().(type) {
	case *types.Struct:
		n["type "+name] = "struct"
		n.addFields(name, under)
	case *types.Interface:
		n["type "+name] = "interface"
		for method := range under.Methods() {
			n["method "+name+"."+method.Name()] = spell(method.Type())
		}
		return
	default:
		n["type "+name] = spell(under)
	}
	values, pointers := types.NewMethodSet(object.Type()),
		types.NewMethodSet(types.NewPointer(object.Type()))
	for selection := range pointers.Methods() {
		method := selection.Obj()
		if !method.Exported() {
			continue
		}
		spelled := spell(selection.Type())
		if values.Lookup(method.Pkg(), method.Name()) == nil {
			spelled += ofPointer + name
		}
		n["method "+name+"."+method.Name()] = spelled
	}
}

// addFields adds the fields of a struct, and those of structs without a name in it.
func (n Names) addFields(name string, of *types.Struct) {
	for field := range of.Fields() {
		if !field.Exported() {
			continue
		}
		key := name + "." + field.Name()
		if inner, ok := field.Type().(*types.Struct); ok {
			n["field "+key] = "struct"
			n.addFields(key, inner)
			continue
		}
		spelled := spell(field.Type())
		if field.Embedded() {
			spelled += ", embedded"
		}
		n["field "+key] = spelled
	}
}

// ofPointer marks a method that values do not have: that they have it too is no difference.
const ofPointer = " of *"

// A Difference is a name that a package lacks, or that is something else there.
type Difference struct {
	// Name is the name with its kind.
	Name string
	// Want is what it is in the package that is to be matched; empty: it has no such name.
	Want string
	// Got is what it is in the other one; empty: it has no such name.
	Got string
}

// String tells of the difference in one line.
func (d Difference) String() string {
	switch {
	case d.Got == "":
		return fmt.Sprintf("%s: missing: %s", d.Name, d.Want)
	case d.Want == "":
		return fmt.Sprintf("%s: asked of every implementation: %s", d.Name, d.Got)
	}
	return fmt.Sprintf("%s: is %s, want %s", d.Name, d.Got, d.Want)
}

// Compare returns how one package differs from another that it is to match, by name. It may have
// more names, but no more methods in an interface: programs implement those. Of a type that is
// missing, its fields and methods are not told.
func Compare(got, want Names) []Difference {
	var all []Difference
	for _, name := range slices.Sorted(maps.Keys(want)) {
		same := got[name] == want[name] ||
			got[name] != "" && strings.HasPrefix(want[name], got[name]+ofPointer)
		if !same && !isMissing(got, name) {
			all = append(all, Difference{name, want[name], got[name]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		_, has := want[name]
		if owner, ok := ownerOf(name); ok && !has && want["type "+owner] == "interface" {
			all = append(all, Difference{name, "", got[name]})
		}
	}
	return all
}

// isMissing reports whether the type of a field or method is missing.
func isMissing(got Names, name string) bool {
	owner, ok := ownerOf(name)
	if !ok {
		return false
	}
	_, has := got["type "+owner]
	return !has
}

func ownerOf(name string) (string, bool) {
	_, rest, _ := strings.Cut(name, " ")
	owner, _, ok := strings.Cut(rest, ".")
	return owner, ok
}
