package kafkaconfig

import (
	"math"
	"strconv"
	"strings"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const (
	createTime = "CreateTime"
	appendTime = "LogAppendTime"
)

// duration makes the parser of a time in milliseconds, for which -1 may stand for ever. What is
// longer than a time.Duration can say is for ever too, or the longest that it can say.
func duration(
	set func(time.Duration) ropewalk.TopicSetting, endless bool,
) func(string) (ropewalk.TopicSetting, bool) {
	const longest = math.MaxInt64 / int64(time.Millisecond)
	return func(value string) (ropewalk.TopicSetting, bool) {
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil || n < -1 || n == -1 && !endless:
			return ropewalk.TopicSetting{}, false
		case n == -1, n > longest && endless:
			return set(ropewalk.KeepForever), true
		}
		return set(time.Duration(min(n, longest)) * time.Millisecond), true
	}
}

func number(
	set func(int64) ropewalk.TopicSetting,
) func(string) (ropewalk.TopicSetting, bool) {
	return func(value string) (ropewalk.TopicSetting, bool) {
		n, err := strconv.ParseInt(value, 10, 64)
		return set(n), err == nil
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
	case createTime:
		return ropewalk.Timestamps(ropewalk.TimestampCreate), true
	case appendTime:
		return ropewalk.Timestamps(ropewalk.TimestampAppend), true
	}
	return ropewalk.TopicSetting{}, false
}
