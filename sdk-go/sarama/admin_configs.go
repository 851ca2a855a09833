package sarama

import (
	"context"
	"maps"
	"slices"
	"strings"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const fileSettings = "the settings of a broker stand in its file"

// settings turns the settings of a topic that is to be into those of the core. A factor of 0 is
// the broker's choice: 3 where there are three brokers.
func (a *clusterAdmin) settings(
	entries map[string]*string, factor int16,
) ([]ropewalk.TopicSetting, error) {
	var settings []ropewalk.TopicSetting
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		value := entries[name]
		config, ok := configNamed(name)
		switch {
		case value == nil && (ok || fixedConfigs[name].name != ""):
			continue
		case !ok:
			if factor == 0 {
				factor = a.defaultFactor()
			}
			if err := checkFixed(name, orEmpty(value), factor); err != nil {
				return nil, err
			}
			continue
		}
		setting, err := config.set(*value)
		if err != nil {
			return nil, err
		}
		settings = append(settings, setting)
	}
	return settings, nil
}

func orEmpty(value *string) string {
	if value == nil {
		return ""
	}
	return *value
}

func (a *clusterAdmin) defaultFactor() int16 {
	if len(a.client.Brokers()) >= 3 {
		return 3
	}
	return 1
}

func (a *clusterAdmin) DescribeConfig(resource ConfigResource) ([]ConfigEntry, error) {
	results, err := a.DescribeConfigs([]*ConfigResource{&resource}, DescribeConfigsOptions{})
	if err != nil {
		return nil, err
	}
	found := results[0]
	if found.ErrorCode != ErrNoError {
		return nil, &DescribeConfigError{Err: found.ErrorCode, ErrMsg: found.ErrorMsg}
	}
	return found.Configs, nil
}

func (a *clusterAdmin) DescribeConfigs(
	resources []*ConfigResource, options DescribeConfigsOptions,
) ([]*ConfigResourceResult, error) {
	var results []*ConfigResourceResult
	for _, resource := range resources {
		result, err := a.describeConfig(resource, options)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

func (a *clusterAdmin) describeConfig(
	resource *ConfigResource, options DescribeConfigsOptions,
) (*ConfigResourceResult, error) {
	result := &ConfigResourceResult{Type: resource.Type, Name: resource.Name}
	switch resource.Type {
	case TopicResource:
	case BrokerResource, BrokerLoggerResource:
		result.ErrorCode, result.ErrorMsg = ErrUnsupportedVersion, fileSettings
		return result, nil
	default:
		result.ErrorCode, result.ErrorMsg = ErrInvalidRequest, "the type of the resource is unknown"
		return result, nil
	}
	found, err := a.getTopic(resource.Name)
	if err != nil {
		number, message, ok := numbered(err)
		if !ok {
			return nil, mapError(err)
		}
		result.ErrorCode, result.ErrorMsg = number, message
		return result, nil
	}
	for _, entry := range configEntries(found.Topic) {
		named := len(resource.ConfigNames) == 0 || slices.Contains(resource.ConfigNames, entry.Name)
		if named {
			result.Configs = append(result.Configs, explained(entry, options))
		}
	}
	return result, nil
}

// explained adds to a setting what was asked for beside its value.
func explained(entry ConfigEntry, options DescribeConfigsOptions) ConfigEntry {
	config, ok := configNamed(entry.Name)
	if !ok {
		config = fixedConfigs[entry.Name]
		config.standard = entry.Value
	}
	if options.IncludeDocumentation {
		entry.Type, entry.Documentation = config.kind, &config.about
	}
	if options.IncludeSynonyms {
		standard := &ConfigSynonym{entry.Name, config.standard, SourceDefault}
		entry.Synonyms = []*ConfigSynonym{standard}
		if !entry.Default {
			own := &ConfigSynonym{entry.Name, entry.Value, entry.Source}
			entry.Synonyms = []*ConfigSynonym{own, standard}
		}
	}
	return entry
}

func (a *clusterAdmin) AlterConfig(
	resourceType ConfigResourceType, name string, entries map[string]*string, validateOnly bool,
) error {
	err := a.alterConfig(resourceType, name, validateOnly,
		func(found described) ([]ropewalk.TopicSetting, error) {
			given, err := a.settings(entries, int16(found.ReplicationFactor))
			for _, config := range topicConfigs {
				if entries[config.name] == nil {
					given = append(given, config.reset())
				}
			}
			return given, err
		})
	if number, message, ok := numbered(err); ok {
		return &AlterConfigError{Err: number, ErrMsg: message}
	}
	return mapError(err)
}

func (a *clusterAdmin) IncrementalAlterConfig(
	resourceType ConfigResourceType, name string, entries map[string]IncrementalAlterConfigsEntry,
	validateOnly bool,
) error {
	err := a.alterConfig(resourceType, name, validateOnly,
		func(found described) ([]ropewalk.TopicSetting, error) {
			var settings []ropewalk.TopicSetting
			for _, name := range slices.Sorted(maps.Keys(entries)) {
				setting, err := changed(found, name, entries[name])
				if err != nil {
					return nil, err
				}
				if setting != nil {
					settings = append(settings, *setting)
				}
			}
			return settings, nil
		})
	if number, message, ok := numbered(err); ok {
		return &adminError{number, message}
	}
	return mapError(err)
}

// alterConfig changes a topic's settings to those that wanted makes of what the topic is.
func (a *clusterAdmin) alterConfig(
	resourceType ConfigResourceType, name string, validateOnly bool,
	wanted func(described) ([]ropewalk.TopicSetting, error),
) error {
	switch resourceType {
	case TopicResource:
	case BrokerResource, BrokerLoggerResource:
		return refuse(ErrUnsupportedVersion, fileSettings)
	default:
		return refuse(ErrInvalidRequest, "the type of the resource is unknown")
	}
	found, err := a.getTopic(name)
	if err != nil {
		return err
	}
	settings, err := wanted(found)
	if err != nil || validateOnly || len(settings) == 0 {
		return err
	}
	// It says what is to be, so that repeating it does no harm.
	return a.try(true, func(ctx context.Context) error {
		_, err := a.admin.UpdateTopic(ctx, name, settings...)
		return err
	})
}

// changed makes one change of one setting; nil when there is nothing to change.
func changed(
	found described, name string, entry IncrementalAlterConfigsEntry,
) (*ropewalk.TopicSetting, error) {
	config, ok := configNamed(name)
	if !ok {
		if entry.Operation == IncrementalAlterConfigsOperationDelete && fixedConfigs[name].name != "" {
			return nil, nil
		}
		return nil, checkFixed(name, orEmpty(entry.Value), int16(found.ReplicationFactor))
	}
	if entry.Operation == IncrementalAlterConfigsOperationDelete {
		setting := config.reset()
		return &setting, nil
	}
	if entry.Value == nil {
		return nil, refuse(ErrInvalidRequest, "%s has no value", name)
	}
	value := *entry.Value
	if entry.Operation != IncrementalAlterConfigsOperationSet {
		if config.kind != ListConfigType {
			return nil, refuse(ErrInvalidConfig, "%s is no list to add to or to take from", name)
		}
		value = combined(config.read(&found.Settings), value, entry.Operation)
	}
	setting, err := config.set(value)
	return &setting, err
}

// combined adds the words of a list to another, or takes them from it.
func combined(old, words string, operation IncrementalAlterConfigsOperation) string {
	list := strings.Split(old, ",")
	for word := range strings.SplitSeq(words, ",") {
		word = strings.TrimSpace(word)
		list = slices.DeleteFunc(list, func(w string) bool { return w == word })
		if operation == IncrementalAlterConfigsOperationAppend {
			list = append(list, word)
		}
	}
	return strings.Join(list, ",")
}
