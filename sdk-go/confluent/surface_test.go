package kafka_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mirrored is the version whose exported names this package has.
const mirrored = "github.com/confluentinc/confluent-kafka-go/v2@v2.11.1"

// fromC is a constant of theirs whose type is C's to say.
const fromC = "const from C"

// missing are the names that are not here, with why.
var missing = map[string]string{
	"ACLBinding*":                              "there is no authorization",
	"ACLOperationFromString":                   "there is no authorization",
	"ACLPermissionType*":                       "there is no authorization",
	"AdminClient.CreateACLs":                   "there is no authorization",
	"AdminClient.DeleteACLs":                   "there is no authorization",
	"AdminClient.DescribeACLs":                 "there is no authorization",
	"CreateACL*":                               "there is no authorization",
	"DeleteACL*":                               "there is no authorization",
	"DescribeACL*":                             "there is no authorization",
	"ResourcePatternType*":                     "there is no authorization",
	"AdminClient.AlterUserScramCredentials":    "there is no SASL",
	"AdminClient.DescribeUserScramCredentials": "there is no SASL",
	"AlterUserScram*":                          "there is no SASL",
	"DescribeUserScram*":                       "there is no SASL",
	"Scram*":                                   "there is no SASL",
	"UserScram*":                               "there is no SASL",
	"AdminClient.ElectLeaders":                 "the core has TransferLeadership",
	"ElectLeaders*":                            "the core has TransferLeadership",
	"ElectionType*":                            "the core has TransferLeadership",
	"NewElectLeadersRequest":                   "the core has TransferLeadership",
	"MockCluster*":                             "brokers for tests are in package ropewalktest",
	"NewMockCluster":                           "brokers for tests are in package ropewalktest",
	"WriteErrorCodes":                          "it is not for programs",
}

// What programs for confluent-kafka-go can name is here, with the same types.
func TestSurface(t *testing.T) {
	if testing.Short() {
		t.Skip("it downloads confluent-kafka-go")
	}
	out, err := exec.Command("go", "mod", "download", "-json", mirrored).Output()
	if err != nil {
		t.Skipf("confluent-kafka-go cannot be had: %v", err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	theirs := surface(t, filepath.Join(module.Dir, "kafka"))
	ours := surface(t, ".")
	if len(theirs) < 500 {
		t.Fatalf("there are only %d names to compare", len(theirs))
	}
	used := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		want := theirs[name]
		got, there := ours[name]
		switch pattern, excused := excuse(name); {
		case there && (got == want || want == fromC):
		case there:
			t.Errorf("%s is\n\t%s, not\n\t%s", name, got, want)
		case excused:
			used[pattern] = true
		default:
			t.Errorf("%s is missing: %s", name, want)
		}
	}
	for pattern := range missing {
		if !used[pattern] {
			t.Errorf("%s is not missing", pattern)
		}
	}
}

// excuse is the pattern by which a name may be missing.
func excuse(name string) (string, bool) {
	if _, ok := missing[name]; ok {
		return name, true
	}
	for pattern := range missing {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(name, prefix) {
			return pattern, true
		}
	}
	return "", false
}

// surface are the exported names of a package, with their types: of constants, variables,
// functions, types, fields and methods.
func surface(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range files {
		base := filepath.Base(name)
		if strings.HasSuffix(base, "_test.go") ||
			strings.HasPrefix(base, "build_") && base != "build_glibc_linux_amd64.go" {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
	}
	config := types.Config{
		FakeImportC: true, Importer: standard{importer.ForCompiler(fset, "source", nil)},
		Error: func(error) {}, // what C and other modules are is not known
	}
	pkg, _ := config.Check("kafka", fset, parsed, nil)
	names := map[string]string{}
	for _, name := range pkg.Scope().Names() {
		if object := pkg.Scope().Lookup(name); object.Exported() {
			describe(names, object)
		}
	}
	return names
}

// standard imports the standard library alone; of others the names are not looked at.
type standard struct{ types.Importer }

func (s standard) Import(path string) (*types.Package, error) {
	if strings.Contains(strings.Split(path, "/")[0], ".") {
		pkg := types.NewPackage(path, filepath.Base(path))
		pkg.MarkComplete()
		return pkg, nil
	}
	return s.Importer.Import(path)
}

func typeText(t types.Type) string {
	text := types.TypeString(t, func(p *types.Package) string { return p.Name() })
	return strings.NewReplacer("interface{}", "any", "interface {}", "any").Replace(text)
}

func describe(names map[string]string, object types.Object) {
	switch object := object.(type) {
	case *types.TypeName:
		describeType(names, object)
	case *types.Func:
		names[object.Name()] = "func" + signature(object.Signature())
	case *types.Const:
		names[object.Name()] = constType(object)
	default:
		names[object.Name()] = typeText(object.Type())
	}
}

// constType is the type of a constant.
func constType(c *types.Const) string {
	b, ok := c.Type().(*types.Basic)
	switch {
	case ok && b.Kind() == types.Invalid:
		return fromC
	case ok && b.Kind() != types.UntypedString:
		return "const number"
	}
	return "const " + typeText(c.Type())
}

// signature is the types of what a function takes and returns: their names do not matter.
func signature(s *types.Signature) string {
	list := func(tuple *types.Tuple) string {
		var parts []string
		for v := range tuple.Variables() {
			parts = append(parts, typeText(v.Type()))
		}
		return strings.Join(parts, ", ")
	}
	return fmt.Sprintf("(%s) (%s) variadic=%v", list(s.Params()), list(s.Results()), s.Variadic())
}

func describeType(names map[string]string, object *types.TypeName) {
	name := object.Name()
	switch under := object.Type().Underlying().(type) {
	case *types.Struct:
		names[name] = "struct"
		for field := range under.Fields() {
			if field.Exported() {
				names[name+"."+field.Name()] = typeText(field.Type())
			}
		}
	case *types.Interface:
		names[name] = "interface"
	default:
		names[name] = typeText(under)
	}
	set := types.NewMethodSet(types.NewPointer(object.Type()))
	if types.IsInterface(object.Type()) {
		set = types.NewMethodSet(object.Type())
	}
	for method := range set.Methods() {
		if f, ok := method.Obj().(*types.Func); ok && f.Exported() {
			names[name+"."+f.Name()] = "func" + signature(f.Signature())
		}
	}
}
