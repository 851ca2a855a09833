package sarama

import (
	"context"
	"maps"
	"slices"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/kafkaconfig"
)

const fileSettings = "the settings of a broker stand in its file"

// settings turns the settings of a topic that is to be into those of the core. A factor of 0 is
// the broker's choice.
func (a *clusterAdmin) settings(
	entries map[string]*string, factor int16,
) ([]ropewalk.TopicSetting, error) {
	replicas := int(factor)
	if entries[kafkaconfig.MinInsyncReplicas] != nil {
		err := a.try(true, func(ctx context.Context) (err error) {
			replicas, err = kafkaconfig.Replicas(ctx, a.admin, int(factor))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	settings, err := kafkaconfig.All(entries, replicas)
	return settings, invalidConfig(err)
}

// invalidConfig is a value that was refused here, as Kafka's brokers refuse one.
func invalidConfig(err error) error {
	if err == nil {
		return nil
	}
	return refuse(ErrInvalidConfig, "%v", err)
}

// configEntry is a setting, with what was asked for beside its value.
func configEntry(found kafkaconfig.Entry, options DescribeConfigsOptions) ConfigEntry {
	entry := ConfigEntry{
		Name: found.Name, Value: found.Value, ReadOnly: found.Fixed,
		Default: found.IsUsual(), Source: SourceTopic,
	}
	if entry.Default {
		entry.Source = SourceDefault
	}
	if options.IncludeDocumentation {
		entry.Type, entry.Documentation = ConfigType(found.Kind), &found.About
	}
	if options.IncludeSynonyms {
		usual := &ConfigSynonym{entry.Name, found.Usual, SourceDefault}
		entry.Synonyms = []*ConfigSynonym{usual}
		if !entry.Default {
			own := &ConfigSynonym{entry.Name, entry.Value, entry.Source}
			entry.Synonyms = []*ConfigSynonym{own, usual}
		}
	}
	return entry
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
	for _, entry := range kafkaconfig.Describe(found.Topic) {
		named := len(resource.ConfigNames) == 0 || slices.Contains(resource.ConfigNames, entry.Name)
		if named {
			result.Configs = append(result.Configs, configEntry(entry, options))
		}
	}
	return result, nil
}

func (a *clusterAdmin) AlterConfig(
	resourceType ConfigResourceType, name string, entries map[string]*string, validateOnly bool,
) error {
	err := a.alterConfig(resourceType, name, validateOnly,
		func(found described) ([]ropewalk.TopicSetting, error) {
			return a.settings(entries, int16(found.ReplicationFactor))
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
				changed, err := changed(found, name, entries[name])
				if err != nil {
					return nil, err
				}
				settings = append(settings, changed...)
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

// changed makes one change of one setting.
func changed(
	found described, name string, entry IncrementalAlterConfigsEntry,
) ([]ropewalk.TopicSetting, error) {
	operation, value := kafkaconfig.Operation(entry.Operation), ""
	switch {
	case entry.Value != nil:
		value = *entry.Value
	case operation != kafkaconfig.Delete:
		return nil, refuse(ErrInvalidRequest, "%s has no value", name)
	}
	settings, err := kafkaconfig.Change(found.Topic, name, value, operation)
	return settings, invalidConfig(err)
}
