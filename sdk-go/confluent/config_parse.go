package kafka

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// role is what settings are for.
type role int

const (
	forBoth role = iota
	forProducer
	forConsumer
	forAdmin
)

func (r role) String() string {
	return []string{"client", "producer", "consumer", "admin client"}[r]
}

// A configKey is what one setting means here.
type configKey struct {
	name string
	// role is whose setting it is; an administrator takes those of both others, and does not act on
	// them.
	role role
	// doc says what it does, or for one that is refused what to do instead.
	doc string
	// set takes a value; nil: the setting is refused, unless its value is that of same.
	set func(s *settings, value ConfigValue) error
	// same is the value that changes nothing, and is accepted of a setting that is refused.
	same string
}

// configKeys are all settings that are known, by name.
var configKeys = indexKeys(
	clientKeys(), securityKeys(), producerKeys(), consumerKeys(), refusedKeys())

func indexKeys(lists ...[]configKey) map[string]configKey {
	all := map[string]configKey{}
	for _, list := range lists {
		for _, key := range list {
			if _, twice := all[key.name]; twice {
				panic("setting " + key.name + " is there twice")
			}
			all[key.name] = key
		}
	}
	return all
}

// parse reads the settings of a producer, a consumer or an administrator. What it returns beside
// them is to be told: settings that are those of another role.
func (m ConfigMap) parse(of role) (*settings, []string, error) {
	all, err := m.flat()
	if err != nil {
		return nil, nil, err
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names) // so that of several faults it is always the same that is told
	s := defaultSettings()
	var notes []string
	for _, name := range names {
		key, known := configKeys[name]
		if !known {
			return nil, nil, errorf(ErrInvalidArg, "No such configuration property: %q%s",
				name, didYouMean(name))
		}
		value := all[name]
		if key.set == nil {
			if err := key.refuse(value); err != nil {
				return nil, nil, err
			}
			continue
		}
		if err := key.set(s, value); err != nil {
			return nil, nil, err
		}
		s.given[name] = true
		if key.role != forBoth && key.role != of {
			notes = append(notes, fmt.Sprintf("Configuration property %s is a %s property and "+
				"will be ignored by this %s instance", name, key.role, of))
		}
	}
	return s, notes, s.validate(of)
}

// refuse refuses a setting that has no meaning here, unless it asks for nothing.
func (k configKey) refuse(value ConfigValue) error {
	text, err := textOf(k.name, value)
	if err != nil {
		return err
	}
	if text == "" || k.same != "" && strings.EqualFold(text, k.same) {
		return nil
	}
	hint := ""
	if k.same != "" {
		hint = fmt.Sprintf(" (only %q is accepted)", k.same)
	}
	return errorf(ErrInvalidArg, "Configuration property %q is refused%s: %s", k.name, hint, k.doc)
}

// didYouMean names the setting that is nearest to a name, if one is near.
func didYouMean(name string) string {
	nearest, best := "", len(name)/3+2
	known := make([]string, 0, len(configKeys))
	for k := range configKeys {
		known = append(known, k)
	}
	slices.Sort(known)
	for _, k := range known {
		if d := distance(name, k); d < best {
			nearest, best = k, d
		}
	}
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", nearest)
}

// distance is how many letters are to be put in, taken out or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := left
			if a[i] != b[j] {
				change++
			}
			left = row[j+1]
			row[j+1] = min(change, left+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// setter is what takes the value of a setting.
type setter = func(s *settings, value ConfigValue) error

func withText(name string, set func(s *settings, text string) error) setter {
	return func(s *settings, value ConfigValue) error {
		text, err := textOf(name, value)
		if err != nil {
			return err
		}
		return set(s, text)
	}
}

func takesText(name string, at func(s *settings) *string) setter {
	return withText(name, func(s *settings, text string) error {
		*at(s) = text
		return nil
	})
}

func takesInt(name string, least, most int, at func(s *settings) *int) setter {
	return withText(name, func(s *settings, text string) error {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return errorf(ErrInvalidArg, "Invalid value %q for configuration property %q: "+
				"expected an integer", text, name)
		}
		if n < least || n > most {
			return errorf(ErrInvalidArg, "Configuration property %q value %d is outside allowed "+
				"range %d..%d", name, n, least, most)
		}
		*at(s) = n
		return nil
	})
}

// takesMillis takes a number of milliseconds.
func takesMillis(name string, least, most int, at func(s *settings) *time.Duration) setter {
	return func(s *settings, value ConfigValue) error {
		n := 0
		take := takesInt(name, least, most, func(*settings) *int { return &n })
		if err := take(s, value); err != nil {
			return err
		}
		*at(s) = time.Duration(n) * time.Millisecond
		return nil
	}
}

func takesBool(name string, at func(s *settings) *bool) setter {
	return withText(name, func(s *settings, text string) error {
		switch strings.ToLower(text) {
		case "true", "t", "1":
			*at(s) = true
		case "false", "f", "0":
			*at(s) = false
		default:
			return errorf(ErrInvalidArg, "Expected bool value for %q: true or false", name)
		}
		return nil
	})
}

// takesOne takes one of several words, and hands on what it stands for.
func takesOne[T any](name string, words map[string]T, set func(s *settings, v T)) setter {
	return withText(name, func(s *settings, text string) error {
		v, ok := words[strings.ToLower(text)]
		if !ok {
			all := make([]string, 0, len(words))
			for word := range words {
				all = append(all, word)
			}
			slices.Sort(all)
			return errorf(ErrInvalidArg, "Invalid value %q for configuration property %q: "+
				"expected one of %s", text, name, strings.Join(all, ", "))
		}
		set(s, v)
		return nil
	})
}

// takesGo takes a setting of librdkafka's binding for Go, which is of one Go type.
func takesGo[T any](name string, at func(s *settings) *T) setter {
	return func(s *settings, value ConfigValue) error {
		v, ok := value.(T)
		if !ok {
			return errorf(ErrInvalidArg, "%s expects type %T, not %T", name, v, value)
		}
		*at(s) = v
		return nil
	}
}

// mostInChannel bounds the size of a channel: Go takes the memory for it at once.
const mostInChannel = 10_000_000

// takesSize takes the size of a channel.
func takesSize(name string, at func(s *settings) *int) setter {
	take := takesGo(name, at)
	return func(s *settings, value ConfigValue) error {
		if n, ok := value.(int); ok && (n < 0 || n > mostInChannel) {
			return errorf(ErrInvalidArg, "%s value %d is outside allowed range 0..%d",
				name, n, mostInChannel)
		}
		return take(s, value)
	}
}
