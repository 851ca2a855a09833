package compat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	// Theirs is the path of real sarama, which the programs import.
	Theirs = "github.com/IBM/sarama"
	// Ours is the path of the package that takes its place.
	Ours = "github.com/ropewalk/ropewalk/sdk-go/sarama"

	folder = "programs"
)

// A Program is one of those under programs/.
type Program struct {
	// Name is that of its folder.
	Name string
	// Output is what it prints, as its comment says.
	Output string
	// Only is the side that it is for, "ropewalk" or "kafka"; empty: both.
	Only string

	source string
}

var (
	outputComment = regexp.MustCompile(`(?s)\n// Output:\n(.*)\z`)
	onlyComment   = regexp.MustCompile(`(?m)^//compat:only (\w+)$`)
)

// Programs returns all of them, by name.
func Programs() ([]Program, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*", "main.go"))
	if err != nil {
		return nil, err
	}
	var programs []Program
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		p := Program{Name: filepath.Base(filepath.Dir(file)), source: string(source)}
		found := outputComment.FindStringSubmatch(p.source)
		if found == nil {
			return nil, fmt.Errorf("%s does not say what it prints", file)
		}
		for line := range strings.Lines(found[1]) {
			p.Output += strings.TrimPrefix(strings.TrimPrefix(line, "//"), " ")
		}
		if only := onlyComment.FindStringSubmatch(p.source); only != nil {
			p.Only = only[1]
		}
		programs = append(programs, p)
	}
	return programs, nil
}

// as returns the program as a package that another can call, with another package for sarama.
func (p Program) as(sarama string) string {
	source := strings.Replace(p.source, "\npackage main\n", "\npackage "+p.Name+"\n", 1)
	source = strings.Replace(source, "\nfunc main() {\n", "\nfunc Main() {\n", 1)
	return strings.ReplaceAll(source, `"`+Theirs, `"`+sarama)
}

// Build makes one executable of all programs, which runs the one that its argument names: to link
// each by itself would take minutes. Programs are compiled as they stand, but for the line that
// imports sarama, their package's name and main's.
func Build(programs []Program, sarama, dir string) (executable string, err error) {
	overlay := map[string]string{}
	add := func(name, text string) error {
		path, err := filepath.Abs(filepath.Join(folder, name, "main.go"))
		if err != nil {
			return err
		}
		overlay[path] = filepath.Join(dir, name+".go")
		return os.WriteFile(overlay[path], []byte(text), 0o600)
	}
	for _, p := range programs {
		if err := add(p.Name, p.as(sarama)); err != nil {
			return "", err
		}
	}
	if err := add("all", dispatcher(programs)); err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		return "", err
	}
	executable = filepath.Join(dir, "programs")
	return executable, run("build", "-overlay", list, "-o", executable, "./"+folder+"/all")
}

// Vet compiles all programs as they stand, against real sarama.
func Vet() error { return run("vet", "./"+folder+"/...") }

func run(args ...string) error {
	command := exec.Command("go", args...)
	var complaint bytes.Buffer
	command.Stdout, command.Stderr = &complaint, &complaint
	if err := command.Run(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], err, complaint.String())
	}
	return nil
}

// dispatcher is the main package that calls a program by its name.
func dispatcher(programs []Program) string {
	var names []string
	for _, p := range programs {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString("package main\n\nimport (\n\t\"os\"\n")
	for _, name := range names {
		fmt.Fprintf(&b, "\t%q\n", Ours+"/compat/"+folder+"/"+name)
	}
	b.WriteString(")\n\nfunc main() {\n\tswitch os.Args[1] {\n")
	for _, name := range names {
		fmt.Fprintf(&b, "\tcase %q:\n\t\t%s.Main()\n", name, name)
	}
	b.WriteString("\tdefault:\n\t\tpanic(\"no such program\")\n\t}\n}\n")
	return b.String()
}
