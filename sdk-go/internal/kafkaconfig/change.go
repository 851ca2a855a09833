package kafkaconfig

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// An Operation is what is done with a setting, with the numbers of Kafka's protocol.
type Operation int8

const (
	// Set gives it the value.
	Set Operation = 0
	// Delete gives it its default.
	Delete Operation = 1
	// Append adds the value's words to a list, as cleanup.policy is one.
	Append Operation = 2
	// Subtract takes them from it.
	Subtract Operation = 3
)

// An Entry is a setting as it is.
type Entry struct {
	// Name is Kafka's.
	Name string
	// Value is the one in force, and Usual what a topic has that was not told.
	Value, Usual string
	// Fixed is whether it is what Ropewalk always does.
	Fixed bool
	// Kind is the type of the value, and About says what the setting does.
	Kind  Kind
	About string
}

// IsUsual reports whether the value is the default.
func (e *Entry) IsUsual() bool { return e.Value == e.Usual }

// Describe returns the settings of a topic, by name.
func Describe(topic *ropewalk.Topic) []Entry {
	entries := make([]Entry, 0, len(acting)+len(always))
	for _, s := range acting {
		entries = append(entries, Entry{
			Name: s.name, Value: s.show(&topic.Settings), Usual: s.usual, Kind: s.kind, About: s.about,
		})
	}
	for _, f := range always {
		value := f.value(int(topic.ReplicationFactor))
		entries = append(entries, Entry{
			Name: f.name, Value: value, Usual: value, Fixed: true, Kind: f.kind, About: f.about,
		})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}

// All returns the settings of the core for those of a topic that is to be, or is to have these and
// otherwise the defaults. A nil value stands for the default.
func All(values map[string]*string, replicas int) ([]ropewalk.TopicSetting, error) {
	var settings []ropewalk.TopicSetting
	for _, name := range slices.Sorted(maps.Keys(values)) {
		operation, value := Set, values[name]
		if value == nil {
			operation, value = Delete, new(string)
		}
		topic := &ropewalk.Topic{ReplicationFactor: int32(replicas)}
		set, err := Change(topic, name, *value, operation)
		if err != nil {
			return nil, err
		}
		settings = append(settings, set...)
	}
	for _, s := range acting {
		if _, given := values[s.name]; !given {
			settings = append(settings, s.reset())
		}
	}
	return settings, nil
}

// Change returns what is to be set of a topic for a change of one of its settings: one setting of
// the core, or none for one that is fixed.
func Change(
	topic *ropewalk.Topic, name, value string, operation Operation,
) ([]ropewalk.TopicSetting, error) {
	value = strings.TrimSpace(value)
	if f := find(always, name); f != nil {
		return nil, f.change(value, operation, int(topic.ReplicationFactor))
	}
	s := find(acting, name)
	if s == nil {
		return nil, unknown(name)
	}
	switch {
	case operation == Delete:
		return []ropewalk.TopicSetting{s.reset()}, nil
	case operation == Set:
	case operation != Append && operation != Subtract:
		return nil, fmt.Errorf("there is no operation %d on %s", operation, name)
	case s.kind != List:
		return nil, noList(name)
	default:
		value = combined(s.show(&topic.Settings), value, operation)
	}
	set, ok := s.parse(value)
	if !ok {
		return nil, cannotBe(name, value, s.takes)
	}
	return []ropewalk.TopicSetting{set}, nil
}

// change refuses a change to what does not hold.
func (f *fixed) change(value string, operation Operation, replicas int) error {
	switch operation {
	case Delete:
		return nil
	case Set:
	default:
		// Its list is empty: there is nothing to take from it, and nothing may be in it.
		if f.kind != List {
			return noList(f.name)
		}
		if operation == Subtract {
			return nil
		}
	}
	if f.asks(value, replicas) {
		return nil
	}
	return cannotBe(f.name, value, f.instead(replicas))
}

// reset gives the setting its default.
func (s *setting) reset() ropewalk.TopicSetting {
	set, _ := s.parse(s.usual)
	return ropewalk.Default(set)
}

// combined adds words to a list, or takes them from it.
func combined(old, words string, operation Operation) string {
	list := strings.Split(old, ",")
	for word := range strings.SplitSeq(words, ",") {
		word = strings.TrimSpace(word)
		list = slices.DeleteFunc(list, func(w string) bool { return w == word })
		if operation == Append {
			list = append(list, word)
		}
	}
	return strings.Join(list, ",")
}

func cannotBe(name, value, instead string) error {
	return fmt.Errorf("%s cannot be %q: %s", name, value, instead)
}

func noList(name string) error {
	return fmt.Errorf("%s is no list to add to or to take from: set it", name)
}

func unknown(name string) error {
	if instead, ok := refused[name]; ok {
		return fmt.Errorf("%s is refused: %s", name, instead)
	}
	names := make([]string, len(acting))
	for i := range acting {
		names[i] = acting[i].name
	}
	return fmt.Errorf("there is no topic setting %s here; those that act are %s",
		name, strings.Join(names, ", "))
}

func (s setting) called() string { return s.name }
func (f fixed) called() string   { return f.name }

// find is the setting of a name, nil when it is not among them.
func find[S interface{ called() string }](among []S, name string) *S {
	for i := range among {
		if among[i].called() == name {
			return &among[i]
		}
	}
	return nil
}

// Replicas is how many replicas a topic gets for which so many were asked, or 0: the broker's
// choice, for which it has to be asked how many brokers there are.
func Replicas(ctx context.Context, admin *ropewalk.Admin, asked int) (int, error) {
	if asked > 0 {
		return asked, nil
	}
	cluster, err := admin.GetCluster(ctx)
	if err != nil {
		return 0, err
	}
	takes := 0
	for _, b := range cluster.Brokers {
		if !b.Draining && !b.Removed {
			takes++
		}
	}
	if takes >= 3 {
		return 3, nil
	}
	return 1, nil
}
