package kafka

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
)

// A ConfigValue is the value of a setting: a string, a bool, an int, or anything with a String
// method.
type ConfigValue any

// A ConfigMap has the settings of a producer, a consumer or an administrator, by librdkafka's
// names. The package's documentation lists them. The setting "default.topic.config" may be a
// ConfigMap itself; what it has takes precedence.
type ConfigMap map[string]ConfigValue

const (
	topicPrefix = "{topic}."
	topicKey    = "default.topic.config"
)

// SetKey sets a setting. One that begins with {topic}. goes into "default.topic.config", which is
// an older way to write settings of topics.
func (m ConfigMap) SetKey(key string, value ConfigValue) error {
	name, ofTopic := strings.CutPrefix(key, topicPrefix)
	if !ofTopic {
		m[key] = value
		return nil
	}
	if _, found := m[topicKey]; !found {
		m[topicKey] = ConfigMap{}
	}
	sub, ok := m[topicKey].(ConfigMap)
	if !ok {
		return errorf(ErrInvalidArg, "%s is a %T, not a ConfigMap", topicKey, m[topicKey])
	}
	sub[name] = value
	return nil
}

// Set takes a setting as key=value, so that a ConfigMap is a flag.Value.
func (m ConfigMap) Set(kv string) error {
	key, value, ok := strings.Cut(kv, "=")
	if !ok {
		return errorf(ErrInvalidArg, "Expected key=value")
	}
	return m.SetKey(key, value)
}

// Get returns a setting, or defval where it is not set. It fails when the value is not of the
// type of defval, unless that is nil.
func (m ConfigMap) Get(key string, defval ConfigValue) (ConfigValue, error) {
	if name, ofTopic := strings.CutPrefix(key, topicPrefix); ofTopic {
		sub, ok := m[topicKey].(ConfigMap)
		if !ok {
			return defval, nil
		}
		return sub.Get(name, defval)
	}
	value, found := m[key]
	if !found {
		return defval, nil
	}
	if defval != nil && reflect.TypeOf(defval) != reflect.TypeOf(value) {
		return nil, errorf(ErrInvalidArg, "%s expects type %T, not %T", key, defval, value)
	}
	return value, nil
}

// flat are all settings in one map, with those of topics above the others. It is a copy.
func (m ConfigMap) flat() (map[string]ConfigValue, error) {
	all := map[string]ConfigValue(maps.Clone(m))
	delete(all, topicKey)
	switch sub := m[topicKey].(type) {
	case nil:
	case ConfigMap:
		maps.Copy(all, sub)
	default:
		return nil, errorf(ErrInvalidArg, "%s is a %T, not a ConfigMap", topicKey, sub)
	}
	for key, value := range all {
		if _, nested := value.(ConfigMap); nested {
			return nil, errorf(ErrInvalidArg, "Invalid type for key %s", key)
		}
		if name, ofTopic := strings.CutPrefix(key, topicPrefix); ofTopic {
			delete(all, key)
			all[name] = value
		}
	}
	return all, nil
}

// textOf is a value as librdkafka reads it.
func textOf(key string, value ConfigValue) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case bool, int:
		return fmt.Sprint(v), nil
	case []ConfigValue:
		parts := make([]string, len(v))
		for i, part := range v {
			text, err := textOf(key, part)
			if err != nil {
				return "", err
			}
			parts[i] = text
		}
		return strings.Join(parts, ","), nil
	case fmt.Stringer:
		return v.String(), nil
	}
	return "", errorf(ErrInvalidArg,
		"Invalid value type %T for key %s (expected string,bool,int,ConfigMap)", value, key)
}
