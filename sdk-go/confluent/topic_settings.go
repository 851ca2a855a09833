package kafka

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A settingOf is a setting of topics under Kafka's name.
type settingOf struct {
	parse func(text string) (ropewalk.TopicSetting, error)
	show  func(s *ropewalk.TopicSettings) string
	// usual is what a topic has that was not told, as show shows it.
	usual string
}

const dayMillis = 24 * 60 * 60 * 1000

// topicSettings are those that have a meaning, by Kafka's names; record.ttl.ms is Ropewalk's own.
var topicSettings = map[string]settingOf{
	"retention.ms": durationSetting(ropewalk.Retention, 7*dayMillis,
		func(s *ropewalk.TopicSettings) time.Duration { return s.Retention }),
	"segment.ms": durationSetting(ropewalk.SegmentAge, 7*dayMillis,
		func(s *ropewalk.TopicSettings) time.Duration { return s.SegmentAge }),
	"delete.retention.ms": durationSetting(ropewalk.DeleteRetention, dayMillis,
		func(s *ropewalk.TopicSettings) time.Duration { return s.DeleteRetention }),
	"record.ttl.ms": durationSetting(ropewalk.RecordTTL, -1,
		func(s *ropewalk.TopicSettings) time.Duration { return s.RecordTTL }),
	"retention.bytes": numberSetting(ropewalk.RetentionBytes, -1,
		func(s *ropewalk.TopicSettings) int64 { return s.RetentionBytes }),
	"segment.bytes": numberSetting(ropewalk.SegmentBytes, 1<<30,
		func(s *ropewalk.TopicSettings) int64 { return s.SegmentBytes }),
	"max.message.bytes": numberSetting(func(n int64) ropewalk.TopicSetting {
		return ropewalk.MaxRecordBytes(int32(min(n, maxInt32)))
	}, 1<<20, func(s *ropewalk.TopicSettings) int64 { return int64(s.MaxRecordBytes) }),
	"message.timestamp.type": wordSetting(ropewalk.Timestamps, "CreateTime",
		map[string]ropewalk.TimestampType{
			"CreateTime": ropewalk.TimestampCreate, "LogAppendTime": ropewalk.TimestampAppend,
		}, func(s *ropewalk.TopicSettings) ropewalk.TimestampType { return s.TimestampType }),
	"cleanup.policy": wordSetting(ropewalk.Cleanup, "delete",
		map[string]ropewalk.CleanupPolicy{
			"delete": ropewalk.CleanupDelete, "compact": ropewalk.CleanupCompact,
			"compact,delete": ropewalk.CleanupCompactAndDelete,
		}, func(s *ropewalk.TopicSettings) ropewalk.CleanupPolicy { return s.CleanupPolicy }),
	"compression.type": wordSetting(ropewalk.CompressedBy, "producer",
		map[string]ropewalk.TopicCompression{
			"producer": ropewalk.TopicCompressionProducer, "gzip": ropewalk.TopicCompressionGzip,
			"snappy": ropewalk.TopicCompressionSnappy, "lz4": ropewalk.TopicCompressionLZ4,
			"zstd": ropewalk.TopicCompressionZstd,
		}, func(s *ropewalk.TopicSettings) ropewalk.TopicCompression { return s.Compression }),
}

// otherSettings are settings of Kafka's topics that have no meaning, with what to do instead.
var otherSettings = map[string]string{
	"min.insync.replicas": "a majority has each message before it is acknowledged: leave it out",
	"unclean.leader.election.enable": "a replica that lacks acknowledged messages never leads: " +
		"leave it out",
	"flush.messages": "brokers flush before they acknowledge: leave it out",
	"flush.ms":       "brokers flush before they acknowledge: leave it out",
}

func durationSetting(set func(time.Duration) ropewalk.TopicSetting, usual int64,
	get func(*ropewalk.TopicSettings) time.Duration,
) settingOf {
	return numberSetting(func(ms int64) ropewalk.TopicSetting {
		if ms < 0 {
			return set(ropewalk.KeepForever)
		}
		return set(time.Duration(ms) * time.Millisecond)
	}, usual, func(s *ropewalk.TopicSettings) int64 {
		if d := get(s); d >= 0 {
			return d.Milliseconds()
		}
		return -1
	})
}

func numberSetting(set func(int64) ropewalk.TopicSetting, usual int64,
	get func(*ropewalk.TopicSettings) int64,
) settingOf {
	return settingOf{
		parse: func(text string) (ropewalk.TopicSetting, error) {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n > 1<<53 {
				return ropewalk.TopicSetting{}, errorf(ErrInvalidConfig, "%q is no number", text)
			}
			return set(n), nil
		},
		show:  func(s *ropewalk.TopicSettings) string { return strconv.FormatInt(get(s), 10) },
		usual: strconv.FormatInt(usual, 10),
	}
}

func wordSetting[T comparable](set func(T) ropewalk.TopicSetting, usual string,
	words map[string]T, get func(*ropewalk.TopicSettings) T,
) settingOf {
	return settingOf{
		parse: func(text string) (ropewalk.TopicSetting, error) {
			parts := strings.Split(strings.ReplaceAll(text, " ", ""), ",")
			slices.Sort(parts)
			value, ok := words[strings.Join(parts, ",")]
			if !ok {
				return ropewalk.TopicSetting{}, errorf(ErrInvalidConfig, "%q is none of %s",
					text, strings.Join(sortedKeys(words), "; "))
			}
			return set(value), nil
		},
		show: func(s *ropewalk.TopicSettings) string {
			for word, value := range words {
				if value == get(s) {
					return word
				}
			}
			return ""
		},
		usual: usual,
	}
}

// topicSetting reads a setting under Kafka's name.
func topicSetting(name, value string) (ropewalk.TopicSetting, error) {
	s, err := settingNamed(name)
	if err != nil {
		return ropewalk.TopicSetting{}, err
	}
	setting, err := s.parse(value)
	if err != nil {
		return setting, errorf(ErrInvalidConfig, "%s: %v", name, err)
	}
	return setting, nil
}

// defaultSetting sets a setting back.
func defaultSetting(name string) (ropewalk.TopicSetting, error) {
	s, err := settingNamed(name)
	if err != nil {
		return ropewalk.TopicSetting{}, err
	}
	setting, err := s.parse(s.usual)
	return ropewalk.Default(setting), err
}

func settingNamed(name string) (settingOf, error) {
	s, ok := topicSettings[name]
	if ok {
		return s, nil
	}
	if instead, known := otherSettings[name]; known {
		return s, errorf(ErrInvalidConfig, "%s is refused: %s", name, instead)
	}
	return s, errorf(ErrInvalidConfig, "Unknown topic config name: %s; there are %s",
		name, strings.Join(sortedKeys(topicSettings), ", "))
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
