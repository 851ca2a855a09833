package sarama

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// topicConfig is a setting of a topic under Kafka's name.
type topicConfig struct {
	name     string
	kind     ConfigType
	standard string
	about    string
	// read returns the value in force, in Kafka's form.
	read func(*ropewalk.TopicSettings) string
	// parse turns a value into a setting of the core; it reports false for one that has no meaning.
	parse func(string) (ropewalk.TopicSetting, bool)
	// sample is any value of the setting, to give it its default.
	sample string
}

// topicConfigs are the settings that act, by name. Bounds are the broker's to check.
var topicConfigs = []topicConfig{
	{
		name: "cleanup.policy", kind: ListConfigType, standard: "delete", sample: "delete",
		about: "What becomes of old records: delete, compact, or both with a comma between.",
		read:  func(s *ropewalk.TopicSettings) string { return s.CleanupPolicy.String() },
		parse: parseCleanup,
	},
	{
		name: "compression.type", kind: StringConfigType, standard: "producer", sample: "producer",
		about: "How producers compress that were not told: producer, gzip, snappy, lz4 or zstd.",
		read:  func(s *ropewalk.TopicSettings) string { return s.Compression.String() },
		parse: parseCompression,
	},
	{
		name: "delete.retention.ms", kind: LongConfigType, standard: "86400000", sample: "0",
		about: "How long a compacted topic keeps records without a value, in milliseconds.",
		read:  func(s *ropewalk.TopicSettings) string { return millis(s.DeleteRetention) },
		parse: duration(ropewalk.DeleteRetention, false),
	},
	{
		name: "max.message.bytes", kind: IntConfigType, standard: "1048576", sample: "1",
		about: "The most bytes that one record may have in its encoded form.",
		read: func(s *ropewalk.TopicSettings) string {
			return strconv.Itoa(int(s.MaxRecordBytes))
		},
		parse: func(value string) (ropewalk.TopicSetting, bool) {
			n, err := strconv.ParseInt(value, 10, 32)
			return ropewalk.MaxRecordBytes(int32(n)), err == nil
		},
	},
	{
		name: "message.timestamp.type", kind: StringConfigType, standard: "CreateTime",
		sample: "CreateTime",
		about:  "Whose clock gives a record its time: CreateTime or LogAppendTime.",
		read: func(s *ropewalk.TopicSettings) string {
			if s.TimestampType == ropewalk.TimestampAppend {
				return "LogAppendTime"
			}
			return "CreateTime"
		},
		parse: parseTimestampType,
	},
	{
		name: "record.ttl.ms", kind: LongConfigType, standard: "-1", sample: "-1",
		about: "How long a record is delivered, in milliseconds; -1: as long as it is there.",
		read:  func(s *ropewalk.TopicSettings) string { return millis(s.RecordTTL) },
		parse: duration(ropewalk.RecordTTL, true),
	},
	{
		name: "retention.bytes", kind: LongConfigType, standard: "-1", sample: "-1",
		about: "How many bytes of records a partition keeps at least; -1: no bound.",
		read: func(s *ropewalk.TopicSettings) string {
			return strconv.FormatInt(s.RetentionBytes, 10)
		},
		parse: number(ropewalk.RetentionBytes),
	},
	{
		name: "retention.ms", kind: LongConfigType, standard: "604800000", sample: "-1",
		about: "How long a record is kept at least, in milliseconds; -1: for ever.",
		read:  func(s *ropewalk.TopicSettings) string { return millis(s.Retention) },
		parse: duration(ropewalk.Retention, true),
	},
	{
		name: "segment.bytes", kind: LongConfigType, standard: "1073741824", sample: "1",
		about: "The size in bytes at which a segment is closed.",
		read: func(s *ropewalk.TopicSettings) string {
			return strconv.FormatInt(s.SegmentBytes, 10)
		},
		parse: number(ropewalk.SegmentBytes),
	},
	{
		name: "segment.ms", kind: LongConfigType, standard: "604800000", sample: "1",
		about: "The age in milliseconds at which a segment is closed.",
		read:  func(s *ropewalk.TopicSettings) string { return millis(s.SegmentAge) },
		parse: duration(ropewalk.SegmentAge, false),
	},
}

const (
	minInsyncReplicas = "min.insync.replicas"
	uncleanElection   = "unclean.leader.election.enable"
)

// fixedConfigs are what holds of every topic: a value that says so is taken.
var fixedConfigs = map[string]topicConfig{
	minInsyncReplicas: {
		name: minInsyncReplicas, kind: IntConfigType,
		about: "How many replicas must have a record before WaitForAll is answered: the majority.",
	},
	uncleanElection: {
		name: uncleanElection, kind: BooleanConfigType, standard: "false",
		about: "Whether a replica may lead that lacks records: never.",
	},
}

func configNamed(name string) (topicConfig, bool) {
	at := slices.IndexFunc(topicConfigs, func(c topicConfig) bool { return c.name == name })
	if at < 0 {
		return topicConfig{}, false
	}
	return topicConfigs[at], true
}

// set returns the setting of the core for a value of Kafka's.
func (c topicConfig) set(value string) (ropewalk.TopicSetting, error) {
	setting, ok := c.parse(strings.TrimSpace(value))
	if !ok {
		return setting, refuse(ErrInvalidConfig, "%s cannot be %q", c.name, value)
	}
	return setting, nil
}

// reset gives the setting its default.
func (c topicConfig) reset() ropewalk.TopicSetting {
	setting, _ := c.parse(c.sample)
	return ropewalk.Default(setting)
}

// checkFixed refuses a value that is not what holds of every topic with so many replicas.
func checkFixed(name, value string, factor int16) error {
	value = strings.TrimSpace(value)
	switch name {
	case uncleanElection:
		if strings.EqualFold(value, "false") {
			return nil
		}
		return refuse(ErrInvalidConfig,
			"%s cannot be %q: a leader that lacks records is never elected", name, value)
	case minInsyncReplicas:
		n, err := strconv.Atoi(value)
		if err == nil && n >= 1 && n <= majority(factor) {
			return nil
		}
		return refuse(ErrInvalidConfig,
			"%s cannot be %q: it is the majority, %d of %d", name, value, majority(factor), factor)
	}
	return refuse(ErrInvalidConfig, "there is no topic setting %s here", name)
}

func majority(replicas int16) int { return int(replicas)/2 + 1 }

// millis is a time in Kafka's form; negative is without an end.
func millis(d time.Duration) string {
	if d < 0 {
		return "-1"
	}
	return strconv.FormatInt(d.Milliseconds(), 10)
}

// duration makes the parser of a time in milliseconds, for which -1 may stand for ever. What is
// longer than a time.Duration can say is for ever too.
func duration(
	setting func(time.Duration) ropewalk.TopicSetting, endless bool,
) func(string) (ropewalk.TopicSetting, bool) {
	const longest = math.MaxInt64 / int64(time.Millisecond)
	return func(value string) (ropewalk.TopicSetting, bool) {
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil || n < -1 || n == -1 && !endless:
			return ropewalk.TopicSetting{}, false
		case n == -1, n > longest && endless:
			return setting(ropewalk.KeepForever), true
		}
		return setting(time.Duration(min(n, longest)) * time.Millisecond), true
	}
}

func number(
	setting func(int64) ropewalk.TopicSetting,
) func(string) (ropewalk.TopicSetting, bool) {
	return func(value string) (ropewalk.TopicSetting, bool) {
		n, err := strconv.ParseInt(value, 10, 64)
		return setting(n), err == nil
	}
}

func parseCleanup(value string) (ropewalk.TopicSetting, bool) {
	var remove, compact bool
	for word := range strings.SplitSeq(value, ",") {
		switch strings.TrimSpace(word) {
		case "delete":
			remove = true
		case "compact":
			compact = true
		default:
			return ropewalk.TopicSetting{}, false
		}
	}
	policy := ropewalk.CleanupDelete
	switch {
	case remove && compact:
		policy = ropewalk.CleanupCompactAndDelete
	case compact:
		policy = ropewalk.CleanupCompact
	}
	return ropewalk.Cleanup(policy), true
}

func parseCompression(value string) (ropewalk.TopicSetting, bool) {
	for _, codec := range []ropewalk.TopicCompression{
		ropewalk.TopicCompressionProducer, ropewalk.TopicCompressionGzip,
		ropewalk.TopicCompressionSnappy, ropewalk.TopicCompressionLZ4,
		ropewalk.TopicCompressionZstd,
	} {
		if codec.String() == value {
			return ropewalk.CompressedBy(codec), true
		}
	}
	return ropewalk.TopicSetting{}, false
}

func parseTimestampType(value string) (ropewalk.TopicSetting, bool) {
	switch value {
	case "CreateTime":
		return ropewalk.Timestamps(ropewalk.TimestampCreate), true
	case "LogAppendTime":
		return ropewalk.Timestamps(ropewalk.TimestampAppend), true
	}
	return ropewalk.TopicSetting{}, false
}

// configEntries are the settings of a topic, by name.
func configEntries(topic *ropewalk.Topic) []ConfigEntry {
	var entries []ConfigEntry
	for _, config := range topicConfigs {
		entry := ConfigEntry{Name: config.name, Value: config.read(&topic.Settings)}
		if entry.Source = SourceTopic; entry.Value == config.standard {
			entry.Source, entry.Default = SourceDefault, true
		}
		entries = append(entries, entry)
	}
	entries = append(entries,
		ConfigEntry{
			Name: minInsyncReplicas, Value: strconv.Itoa(majority(int16(topic.ReplicationFactor))),
			ReadOnly: true, Default: true, Source: SourceDefault,
		},
		ConfigEntry{
			Name: uncleanElection, Value: "false",
			ReadOnly: true, Default: true, Source: SourceDefault,
		})
	slices.SortFunc(entries, func(a, b ConfigEntry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}
