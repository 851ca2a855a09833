package sarama

import "fmt"

// ConfigResourceType says whose settings are meant.
type ConfigResourceType int8

const (
	// UnknownResource is nobody's.
	UnknownResource ConfigResourceType = 0
	// TopicResource is a topic's.
	TopicResource ConfigResourceType = 2
	// BrokerResource is a broker's, which stand in its file here.
	BrokerResource ConfigResourceType = 4
	// BrokerLoggerResource is a broker's log levels, which stand in its file here.
	BrokerLoggerResource ConfigResourceType = 8
)

// ConfigResource names settings.
type ConfigResource struct {
	// Type says whose they are.
	Type ConfigResourceType
	// Name is the topic's name.
	Name string
	// ConfigNames are the settings; all when none is named.
	ConfigNames []string
}

// ConfigSource says where a value comes from.
type ConfigSource int8

const (
	// SourceUnknown: it is not known.
	SourceUnknown ConfigSource = iota
	// SourceTopic: it was set for the topic.
	SourceTopic
	// SourceDynamicBroker: it was set for a broker while it ran. Not used here.
	SourceDynamicBroker
	// SourceDynamicDefaultBroker: it was set for all brokers while they ran. Not used here.
	SourceDynamicDefaultBroker
	// SourceStaticBroker: it stands in a broker's file. Not used here.
	SourceStaticBroker
	// SourceDefault: it is the default.
	SourceDefault
)

// String returns the name without Source.
func (s ConfigSource) String() string {
	names := [...]string{
		"Unknown", "Topic", "DynamicBroker", "DynamicDefaultBroker", "StaticBroker", "Default",
	}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("Source Invalid: %d", int(s))
	}
	return names[s]
}

// ConfigType is the type of a setting's value.
type ConfigType int8

const (
	// UnknownConfigType: it is not known.
	UnknownConfigType ConfigType = iota
	// BooleanConfigType: true or false.
	BooleanConfigType
	// StringConfigType: text.
	StringConfigType
	// IntConfigType: a number of 32 bits.
	IntConfigType
	// ShortConfigType: a number of 16 bits.
	ShortConfigType
	// LongConfigType: a number of 64 bits.
	LongConfigType
	// DoubleConfigType: a number with a fraction.
	DoubleConfigType
	// ListConfigType: words with commas between them.
	ListConfigType
	// ClassConfigType: a Java class.
	ClassConfigType
	// PasswordConfigType: a secret.
	PasswordConfigType
)

// ConfigEntry is a setting and its value.
type ConfigEntry struct {
	// Name is Kafka's name of the setting.
	Name string
	// Value is the value in force.
	Value string
	// ReadOnly is whether it is what Ropewalk always does.
	ReadOnly bool
	// Default is whether the value is the default.
	Default bool
	// Source says where the value comes from: SourceTopic or SourceDefault.
	Source ConfigSource
	// Sensitive is false: there are no secrets among them.
	Sensitive bool
	// Synonyms are, when they were asked for, the value and the default under it.
	Synonyms []*ConfigSynonym
	// Type is the value's, when the documentation was asked for.
	Type ConfigType
	// Documentation says what the setting does, when it was asked for.
	Documentation *string
}

// ConfigSynonym is another place that a value could come from.
type ConfigSynonym struct {
	// ConfigName is the setting's name there.
	ConfigName string
	// ConfigValue is the value there.
	ConfigValue string
	// Source says which place it is.
	Source ConfigSource
}

// DescribeConfigsOptions says what to tell beside the values.
type DescribeConfigsOptions struct {
	// IncludeSynonyms tells of other places that a value could come from. Default: false.
	IncludeSynonyms bool
	// IncludeDocumentation tells of types, and what settings do. Default: false.
	IncludeDocumentation bool
}

// ConfigResourceResult is the settings of one resource, or why they were not told.
type ConfigResourceResult struct {
	// Type says whose they are.
	Type ConfigResourceType
	// Name is the topic's name.
	Name string
	// ErrorCode is ErrNoError when it worked, and ErrorMsg says more when it did not.
	ErrorCode KError
	ErrorMsg  string
	// Configs are the settings, by name.
	Configs []ConfigEntry
}

// IncrementalAlterConfigsOperation says what to do with a setting.
type IncrementalAlterConfigsOperation int8

const (
	// IncrementalAlterConfigsOperationSet gives it the value.
	IncrementalAlterConfigsOperationSet IncrementalAlterConfigsOperation = iota
	// IncrementalAlterConfigsOperationDelete gives it its default.
	IncrementalAlterConfigsOperationDelete
	// IncrementalAlterConfigsOperationAppend adds the value's words to a list: cleanup.policy.
	IncrementalAlterConfigsOperationAppend
	// IncrementalAlterConfigsOperationSubtract takes them from it.
	IncrementalAlterConfigsOperationSubtract
)

// IncrementalAlterConfigsEntry is a change of one setting.
type IncrementalAlterConfigsEntry struct {
	// Operation says what to do. Default: IncrementalAlterConfigsOperationSet.
	Operation IncrementalAlterConfigsOperation
	// Value is the value; not needed to delete.
	Value *string
}
