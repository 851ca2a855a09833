package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/kafkaconfig"
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
	// IsReadOnly is whether it is what Ropewalk always does.
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

// DescribeConfigs returns the settings of topics, under Kafka's names. These can be changed:
// cleanup.policy, compression.type, delete.retention.ms, max.message.bytes (of one record here),
// message.timestamp.type, retention.bytes, retention.ms, segment.bytes and segment.ms, and
// record.ttl.ms, which is Ropewalk's own.
//
// The others are read-only: what Ropewalk does always in one way, as min.insync.replicas, which is
// the majority, and unclean.leader.election.enable, which is false. To create or alter a topic they
// may be set to what asks for no more than that, which changes nothing. Anything else is refused by
// name, with ErrInvalidConfig, and with what to do instead.
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
			return settingsShown(topic), nil
		})
}

func settingsShown(topic *ropewalk.Topic) map[string]ConfigEntryResult {
	shown := map[string]ConfigEntryResult{}
	for _, found := range kafkaconfig.Describe(topic) {
		entry := ConfigEntryResult{
			Name: found.Name, Value: found.Value, Source: ConfigSourceDynamicTopic,
			IsReadOnly: found.Fixed, IsDefault: found.IsUsual(),
		}
		if entry.IsDefault {
			entry.Source = ConfigSourceDefault
		}
		shown[entry.Name] = entry
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
			values := map[string]*string{}
			for _, e := range r.Config {
				values[e.Name] = &e.Value
			}
			topic, _, err := admin.GetTopic(ctx, r.Name)
			if err != nil {
				return nil, err
			}
			settings, err := kafkaconfig.All(values, int(topic.ReplicationFactor))
			if err != nil {
				return nil, invalidConfig(err)
			}
			_, err = admin.UpdateTopic(ctx, r.Name, settings...)
			return nil, err
		})
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
				operation := kafkaconfig.Operation(e.IncrementalOperation)
				changed, err := kafkaconfig.Change(topic, e.Name, e.Value, operation)
				if err != nil {
					return nil, invalidConfig(err)
				}
				settings = append(settings, changed...)
			}
			if len(settings) == 0 {
				return nil, nil
			}
			_, err = admin.UpdateTopic(ctx, r.Name, settings...)
			return nil, err
		})
}

// invalidConfig is a value that was refused here, as Kafka's brokers refuse one.
func invalidConfig(err error) error { return errorf(ErrInvalidConfig, "%v", err) }

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
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
