package sarama

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// All reasons of the core are mapped, and the documentation says so.
func TestReasons(t *testing.T) {
	reasons := coreReasons(t)
	file, err := parser.ParseFile(token.NewFileSet(), "doc_config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(file.Doc.Text()) {
		fields := strings.Fields(line)
		if len(fields) == 2 && line[0] == '\t' && strings.HasPrefix(fields[1], "Err") {
			rows[fields[0]] = fields[1]
		}
	}
	names := kerrorNames(t)
	for reason := range reasons {
		if reason == ropewalk.ReasonCanceled || reason == ropewalk.ReasonUnreachable {
			continue // they have causes, which count
		}
		mapped, name := reasonErrors[reason], rows[string(reason)]
		if number, ok := mapped.(KError); mapped == nil || name == "" || ok && names[number] != name {
			t.Errorf("%s is mapped to %v, documented as %q", reason, mapped, name)
		}
		delete(rows, string(reason))
	}
	if len(rows) > 0 {
		t.Errorf("the documentation has %v too", rows)
	}
}

// coreReasons are all that the core has.
func coreReasons(t *testing.T) map[ropewalk.Reason]bool {
	t.Helper()
	reasons := map[ropewalk.Reason]bool{}
	eachConst(t, "../errors.go", "Reason", func(_, value string) {
		text, err := strconv.Unquote(value)
		if err != nil {
			t.Fatal(err)
		}
		reasons[ropewalk.Reason(text)] = true
	})
	if len(reasons) < 30 {
		t.Fatalf("found %v", reasons)
	}
	return reasons
}

func kerrorNames(t *testing.T) map[KError]string {
	t.Helper()
	names := map[KError]string{}
	eachConst(t, "kerror.go", "KError", func(name, value string) {
		number, err := strconv.Atoi(value)
		if err != nil {
			t.Fatal(err)
		}
		names[KError(number)] = name
	})
	return names
}

// eachConst calls f with the constants of a type, as they stand in a file.
func eachConst(t *testing.T, path, ofType string, f func(name, value string)) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != ofType {
			return true
		}
		switch value := spec.Values[0].(type) {
		case *ast.BasicLit:
			f(spec.Names[0].Name, value.Value)
		case *ast.UnaryExpr:
			f(spec.Names[0].Name, value.Op.String()+value.X.(*ast.BasicLit).Value)
		}
		return true
	})
}

// Whatever has no counterpart is returned as it is.
func TestMapErrorKeeps(t *testing.T) {
	own := errors.New("mine")
	canceled := &ropewalk.Error{Reason: ropewalk.ReasonCanceled}
	for _, err := range []error{nil, own, context.Canceled, canceled, ErrTopicAlreadyExists} {
		if got := mapError(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
	unreachable := &ropewalk.Error{Reason: ropewalk.ReasonUnreachable}
	if err := mapError(unreachable); !errors.Is(err, ErrOutOfBrokers) || !errors.Is(err, unreachable) {
		t.Errorf("got %v", err)
	}
}

// A refusal of one partition says nothing of the others. That another member has the instance name
// is of all.
func TestRefusalsOfOnePartition(t *testing.T) {
	taken := map[string]string{"cause": "instance_taken"}
	for _, test := range []struct {
		err  ropewalk.Error
		want bool
	}{
		{ropewalk.Error{Reason: ropewalk.ReasonMemberFenced}, true},
		{ropewalk.Error{Reason: ropewalk.ReasonMemberFenced, Metadata: taken}, false},
		{ropewalk.Error{Reason: ropewalk.ReasonOffsetOutOfRange}, true},
		{ropewalk.Error{Reason: ropewalk.ReasonInvalidField}, true},
		{ropewalk.Error{Reason: ropewalk.ReasonGroupNotEmpty}, false},
	} {
		if isOfOne(&test.err) != test.want {
			t.Errorf("%v %v: want %v", test.err.Reason, test.err.Metadata, test.want)
		}
	}
}
