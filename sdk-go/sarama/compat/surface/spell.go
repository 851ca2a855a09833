package surface

import (
	"fmt"
	"go/types"
	"strings"
)

// spell writes a type without the names of parameters, and without the paths of packages: the
// packages that are compared stand at different ones.
func spell(t types.Type) string {
	switch t := types.Unalias(t).(type) {
	case *types.Basic:
		return t.Name()
	case *types.Named:
		return spellNamed(t)
	case *types.Pointer:
		return "*" + spell(t.Elem())
	case *types.Slice:
		return "[]" + spell(t.Elem())
	case *types.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), spell(t.Elem()))
	case *types.Map:
		return fmt.Sprintf("map[%s]%s", spell(t.Key()), spell(t.Elem()))
	case *types.Chan:
		return [...]string{"chan ", "chan<- ", "<-chan "}[t.Dir()] + spell(t.Elem())
	case *types.Signature:
		return spellSignature(t)
	case *types.Struct:
		return spellStruct(t)
	case *types.Interface:
		return spellInterface(t)
	default:
		return t.String()
	}
}

func spellNamed(t *types.Named) string {
	name := t.Obj().Name()
	if pkg := t.Obj().Pkg(); pkg != nil {
		name = pkg.Name() + "." + name
	}
	var args []string
	for arg := range t.TypeArgs().Types() {
		args = append(args, spell(arg))
	}
	if len(args) > 0 {
		name += "[" + strings.Join(args, ", ") + "]"
	}
	return name
}

func spellSignature(t *types.Signature) string {
	in := spellAll(t.Params())
	if t.Variadic() {
		last := len(in) - 1
		in[last] = "..." + strings.TrimPrefix(in[last], "[]")
	}
	out := spellAll(t.Results())
	return fmt.Sprintf("func(%s) (%s)", strings.Join(in, ", "), strings.Join(out, ", "))
}

func spellAll(tuple *types.Tuple) []string {
	var all []string
	for v := range tuple.Variables() {
		all = append(all, spell(v.Type()))
	}
	return all
}

func spellStruct(t *types.Struct) string {
	var fields []string
	for field := range t.Fields() {
		fields = append(fields, field.Name()+" "+spell(field.Type()))
	}
	return "struct{" + strings.Join(fields, "; ") + "}"
}

func spellInterface(t *types.Interface) string {
	if t.Empty() {
		return "any"
	}
	var methods []string
	for method := range t.Methods() {
		methods = append(methods, method.Name()+spell(method.Type()))
	}
	return "interface{" + strings.Join(methods, "; ") + "}"
}
