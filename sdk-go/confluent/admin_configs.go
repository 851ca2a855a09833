package kafka

import (
	"context"
	"fmt"
	"slices"
	"strings"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A ResourceType is what has settings.
type ResourceType int

const (
	// ResourceUnknown: none of the others.
	ResourceUnknown ResourceType = 0
	// ResourceAny: any of them.
	ResourceAny ResourceType = 1
	// ResourceTopic: a topic, the only one whose settings can be seen and changed.
	ResourceTopic ResourceType = 2
	// ResourceGroup: a consumer group.
	ResourceGroup ResourceType = 3
	// ResourceBroker: a broker.
	ResourceBroker ResourceType = 4
)

// String returns the name in capitals.
func (t ResourceType) String() string {
	names := []string{"UNKNOWN", "ANY", "TOPIC", "GROUP", "BROKER"}
	if t < 0 || int(t) >= len(names) {
		return "UNSUPPORTED"
	}
	return names[t]
}

// ResourceTypeFromString returns the type of a name, in capitals or not.
func ResourceTypeFromString(typeString string) (ResourceType, error) {
	for t := ResourceAny; t <= ResourceBroker; t++ {
		if strings.EqualFold(t.String(), typeString) {
			return t, nil
		}
	}
	return ResourceUnknown, NewError(ErrInvalidArg, "Unknown resource type", false)
}

// A ConfigSource says who has set a setting.
type ConfigSource int

// Who may have set a setting, with librdkafka's numbers. Those of topics are
// ConfigSourceDynamicTopic, or ConfigSourceDefault where they are as by default.
const (
	ConfigSourceUnknown              ConfigSource = 0
	ConfigSourceDynamicTopic         ConfigSource = 1
	ConfigSourceDynamicBroker        ConfigSource = 2
	ConfigSourceDynamicDefaultBroker ConfigSource = 3
	ConfigSourceStaticBroker         ConfigSource = 4
	ConfigSourceDefault              ConfigSource = 5
	ConfigSourceGroup                ConfigSource = 8
)

// String returns the name in capitals.
func (t ConfigSource) String() string {
	names := map[ConfigSource]string{
		ConfigSourceUnknown: "UNKNOWN_CONFIG", ConfigSourceDynamicTopic: "DYNAMIC_TOPIC_CONFIG",
		ConfigSourceDynamicBroker:        "DYNAMIC_BROKER_CONFIG",
		ConfigSourceDynamicDefaultBroker: "DYNAMIC_DEFAULT_BROKER_CONFIG",
		ConfigSourceStaticBroker:         "STATIC_BROKER_CONFIG",
		ConfigSourceDefault:              "DEFAULT_CONFIG",
		ConfigSourceGroup:                "GROUP_CONFIG",
	}
	if name, ok := names[t]; ok {
		return name
	}
	return "UNSUPPORTED"
}

// A ConfigResource names what has settings, and says what they are to be.
type ConfigResource struct {
	// Type is ResourceTopic.
	Type ResourceType
	// Name is the topic's name.
	Name string
	// Config are the settings to change; DescribeConfigs does not look at them.
	Config []ConfigEntry
}

// String names the resource.
func (c ConfigResource) String() string { return fmt.Sprintf("Resource(%s, %s)", c.Type, c.Name) }

// AlterOperation is what AlterConfigs does with a setting.
type AlterOperation int

// AlterOperationSet sets it.
const AlterOperationSet = iota

// String returns Set.
func (o AlterOperation) String() string {
	if o == AlterOperationSet {
		return "Set"
	}
	return fmt.Sprintf("Unknown%d?", int(o))
}

// AlterConfigOpType is what IncrementalAlterConfigs does with a setting.
type AlterConfigOpType int

const (
	// AlterConfigOpTypeSet sets it.
	AlterConfigOpTypeSet AlterConfigOpType = 0
	// AlterConfigOpTypeDelete sets it back to its default.
	AlterConfigOpTypeDelete AlterConfigOpType = 1
	// AlterConfigOpTypeAppend adds to a list, as cleanup.policy is one.
	AlterConfigOpTypeAppend AlterConfigOpType = 2
	// AlterConfigOpTypeSubtract takes from a list.
	AlterConfigOpTypeSubtract AlterConfigOpType = 3
)

// String returns Set, Delete, Append or Subtract.
func (o AlterConfigOpType) String() string {
	names := []string{"Set", "Delete", "Append", "Subtract"}
	if o < 0 || int(o) >= len(names) {
		return fmt.Sprintf("Unknown %d", int(o))
	}
	return names[o]
}

// A ConfigEntry says what a setting is to be.
type ConfigEntry struct {
	// Name is the setting's, and Value what it is to be.
	Name  string
	Value string
	// Operation is AlterOperationSet.
	//
	// Deprecated: it is AlterConfigs' alone.
	Operation AlterOperation
	// IncrementalOperation is what IncrementalAlterConfigs does with Value.
	IncrementalOperation AlterConfigOpType
}

// String shows what is to be done.
func (c ConfigEntry) String() string {
	return fmt.Sprintf("%v %s=%q", c.Operation, c.Name, c.Value)
}

// StringMapToConfigEntries makes entries of names and values.
func StringMapToConfigEntries(
	stringMap map[string]string, operation AlterOperation,
) []ConfigEntry {
	var entries []ConfigEntry
	for _, name := range sortedKeys(stringMap) {
		entries = append(entries,
			ConfigEntry{Name: name, Value: stringMap[name], Operation: operation})
	}
	return entries
}

// StringMapToIncrementalConfigEntries makes entries of names and values, with what is to be done.
func StringMapToIncrementalConfigEntries(
	stringMap map[string]string, operationMap map[string]AlterConfigOpType,
) []ConfigEntry {
	var entries []ConfigEntry
	for _, name := range sortedKeys(stringMap) {
		entries = append(entries, ConfigEntry{
			Name: name, Value: stringMap[name], IncrementalOperation: operationMap[name],
		})
	}
	return entries
}

// A ConfigEntryResult is a setting as it is.
type ConfigEntryResult struct {
	// Name is the setting's, and Value what it is.
	Name  string
	Value string
	// Source says who has set it.
	Source ConfigSource
	// IsReadOnly is false: topics' settings can be changed.
	IsReadOnly bool
	// IsDefault is whether it is as by default.
	IsDefault bool
	// IsSensitive and IsSynonym are false, and Synonyms is nil.
	IsSensitive bool
	IsSynonym   bool
	Synonyms    map[string]ConfigEntryResult
}

// String shows name and value.
func (c ConfigEntryResult) String() string { return fmt.Sprintf("%s=%q", c.Name, c.Value) }

// A ConfigResourceResult is what has settings, with them.
type ConfigResourceResult struct {
	// Type and Name are as in the ConfigResource.
	Type ResourceType
	Name string
	// Error says what went wrong; its code is ErrNoError otherwise.
	Error Error
	// Config are the settings, by name; nil from calls that change them.
	Config map[string]ConfigEntryResult
}

// String names the resource, and how many settings it has or what went wrong.
func (c ConfigResourceResult) String() string {
	if c.Error.code != ErrNoError {
		return fmt.Sprintf("ResourceResult(%s, %s, \"%v\")", c.Type, c.Name, c.Error)
	}
	return fmt.Sprintf("ResourceResult(%s, %s, %d config(s))", c.Type, c.Name, len(c.Config))
}

// DescribeConfigs returns the settings of topics, under Kafka's names: cleanup.policy,
// compression.type, delete.retention.ms, max.message.bytes, message.timestamp.type,
// retention.bytes, retention.ms, segment.bytes and segment.ms, and record.ttl.ms, which is
// Ropewalk's own.
func (a *AdminClient) DescribeConfigs(
	ctx context.Context, resources []ConfigResource, options ...DescribeConfigsAdminOption,
) ([]ConfigResourceResult, error) {
	o, err := optionsOf(options)
	if err != nil {
		return nil, err
	}
	return a.eachResource(ctx, o, resources,
		func(ctx context.Context, admin *ropewalk.Admin, r ConfigResource,
		) (map[string]ConfigEntryResult, error) {
			topic, _, err := admin.GetTopic(ctx, r.Name)
			if err != nil {
				return nil, err
			}
			return settingsShown(&topic.Settings), nil
		})
}

func settingsShown(s *ropewalk.TopicSettings) map[string]ConfigEntryResult {
	shown := map[string]ConfigEntryResult{}
	for name, setting := range topicSettings {
		entry := ConfigEntryResult{
			Name: name, Value: setting.show(s), Source: ConfigSourceDynamicTopic,
		}
		if entry.Value == setting.usual {
			entry.IsDefault, entry.Source = true, ConfigSourceDefault
		}
		shown[name] = entry
	}
	return shown
}

// AlterConfigs sets settings of topics; those that are not named get their defaults. All of a topic
// are changed at once, or none.
func (a *AdminClient) AlterConfigs(
	ctx context.Context, resources []ConfigResource, options ...AlterConfigsAdminOption,
) ([]ConfigResourceResult, error) {
	o, err := optionsOf(options)
	if err != nil {
		return nil, err
	}
	return a.eachResource(ctx, o, resources,
		func(ctx context.Context, admin *ropewalk.Admin, r ConfigResource,
		) (map[string]ConfigEntryResult, error) {
			settings, err := replacement(r.Config)
			if err == nil {
				_, err = admin.UpdateTopic(ctx, r.Name, settings...)
			}
			return nil, err
		})
}

// replacement are all settings of a topic, of which some are given.
func replacement(entries []ConfigEntry) ([]ropewalk.TopicSetting, error) {
	given := map[string]ropewalk.TopicSetting{}
	for _, e := range entries {
		setting, err := topicSetting(e.Name, e.Value)
		if err != nil {
			return nil, err
		}
		given[e.Name] = setting
	}
	var settings []ropewalk.TopicSetting
	for _, name := range sortedKeys(topicSettings) {
		setting, ok := given[name]
		if !ok {
			var err error
			if setting, err = defaultSetting(name); err != nil {
				return nil, err
			}
		}
		settings = append(settings, setting)
	}
	return settings, nil
}

// IncrementalAlterConfigs changes settings of topics; those that are not named stay. All of a topic
// are changed at once, or none.
func (a *AdminClient) IncrementalAlterConfigs(
	ctx context.Context, resources []ConfigResource, options ...AlterConfigsAdminOption,
) ([]ConfigResourceResult, error) {
	o, err := optionsOf(options)
	if err != nil {
		return nil, err
	}
	return a.eachResource(ctx, o, resources,
		func(ctx context.Context, admin *ropewalk.Admin, r ConfigResource,
		) (map[string]ConfigEntryResult, error) {
			topic, _, err := admin.GetTopic(ctx, r.Name)
			if err != nil {
				return nil, err
			}
			var settings []ropewalk.TopicSetting
			for _, e := range r.Config {
				setting, err := changed(e, &topic.Settings)
				if err != nil {
					return nil, err
				}
				settings = append(settings, setting)
			}
			_, err = admin.UpdateTopic(ctx, r.Name, settings...)
			return nil, err
		})
}

// changed is what an entry makes of a setting.
func changed(e ConfigEntry, now *ropewalk.TopicSettings) (ropewalk.TopicSetting, error) {
	switch e.IncrementalOperation {
	case AlterConfigOpTypeSet:
		return topicSetting(e.Name, e.Value)
	case AlterConfigOpTypeDelete:
		return defaultSetting(e.Name)
	}
	if e.Name != "cleanup.policy" {
		return ropewalk.TopicSetting{}, errorf(ErrInvalidConfig,
			"%s is no list: nothing can be added to it, or taken from it", e.Name)
	}
	list := strings.Split(topicSettings[e.Name].show(now), ",")
	for value := range strings.SplitSeq(e.Value, ",") {
		value = strings.TrimSpace(value)
		list = slices.DeleteFunc(list, func(s string) bool { return s == value })
		if e.IncrementalOperation == AlterConfigOpTypeAppend {
			list = append(list, value)
		}
	}
	return topicSetting(e.Name, strings.Join(list, ","))
}

// eachResource does something with each resource, which has to be a topic.
func (a *AdminClient) eachResource(ctx context.Context, o adminOptions, resources []ConfigResource,
	do func(context.Context, *ropewalk.Admin, ConfigResource) (map[string]ConfigEntryResult, error),
) ([]ConfigResourceResult, error) {
	ctx, admin, end, err := a.begin(ctx, o)
	if err != nil {
		return nil, err
	}
	defer end()
	results := make([]ConfigResourceResult, len(resources))
	for i, r := range resources {
		results[i] = ConfigResourceResult{Type: r.Type, Name: r.Name}
		if r.Type != ResourceTopic {
			results[i].Error = errorf(ErrUnsupportedFeature, "%v: only topics have settings that can "+
				"be seen and changed; those of a broker are in its file, flags and environment", r)
			continue
		}
		config, err := do(ctx, admin, r)
		results[i].Config, results[i].Error = config, asError(err)
	}
	return results, nil
}
