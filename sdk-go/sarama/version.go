package sarama

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// KafkaVersion is a version of Kafka. It changes no behaviour here; [Config.Validate] refuses what
// a version cannot do, as sarama does.
type KafkaVersion struct{ parts [4]uint }

func version(parts ...uint) KafkaVersion {
	var v KafkaVersion
	copy(v.parts[:], parts)
	return v
}

// IsAtLeast is whether a version is another one or a later one.
func (v KafkaVersion) IsAtLeast(other KafkaVersion) bool {
	for i, part := range v.parts {
		if part != other.parts[i] {
			return part > other.parts[i]
		}
	}
	return true
}

// String returns the version in the form that ParseKafkaVersion takes: four numbers before 1.0.0,
// and three since.
func (v KafkaVersion) String() string {
	if v.parts[0] == 0 {
		return fmt.Sprintf("0.%d.%d.%d", v.parts[1], v.parts[2], v.parts[3])
	}
	return fmt.Sprintf("%d.%d.%d", v.parts[0], v.parts[1], v.parts[2])
}

// Versions that sarama knows.
var (
	V0_8_2_0  = version(0, 8, 2, 0)
	V0_8_2_1  = version(0, 8, 2, 1)
	V0_8_2_2  = version(0, 8, 2, 2)
	V0_9_0_0  = version(0, 9, 0, 0)
	V0_9_0_1  = version(0, 9, 0, 1)
	V0_10_0_0 = version(0, 10, 0, 0)
	V0_10_0_1 = version(0, 10, 0, 1)
	V0_10_1_0 = version(0, 10, 1, 0)
	V0_10_1_1 = version(0, 10, 1, 1)
	V0_10_2_0 = version(0, 10, 2, 0)
	V0_10_2_1 = version(0, 10, 2, 1)
	V0_10_2_2 = version(0, 10, 2, 2)
	V0_11_0_0 = version(0, 11, 0, 0)
	V0_11_0_1 = version(0, 11, 0, 1)
	V0_11_0_2 = version(0, 11, 0, 2)
	V1_0_0_0  = version(1, 0, 0, 0)
	V1_0_1_0  = version(1, 0, 1, 0)
	V1_0_2_0  = version(1, 0, 2, 0)
	V1_1_0_0  = version(1, 1, 0, 0)
	V1_1_1_0  = version(1, 1, 1, 0)
	V2_0_0_0  = version(2, 0, 0, 0)
	V2_0_1_0  = version(2, 0, 1, 0)
	V2_1_0_0  = version(2, 1, 0, 0)
	V2_1_1_0  = version(2, 1, 1, 0)
	V2_2_0_0  = version(2, 2, 0, 0)
	V2_2_1_0  = version(2, 2, 1, 0)
	V2_2_2_0  = version(2, 2, 2, 0)
	V2_3_0_0  = version(2, 3, 0, 0)
	V2_3_1_0  = version(2, 3, 1, 0)
	V2_4_0_0  = version(2, 4, 0, 0)
	V2_4_1_0  = version(2, 4, 1, 0)
	V2_5_0_0  = version(2, 5, 0, 0)
	V2_5_1_0  = version(2, 5, 1, 0)
	V2_6_0_0  = version(2, 6, 0, 0)
	V2_6_1_0  = version(2, 6, 1, 0)
	V2_6_2_0  = version(2, 6, 2, 0)
	V2_6_3_0  = version(2, 6, 3, 0)
	V2_7_0_0  = version(2, 7, 0, 0)
	V2_7_1_0  = version(2, 7, 1, 0)
	V2_7_2_0  = version(2, 7, 2, 0)
	V2_8_0_0  = version(2, 8, 0, 0)
	V2_8_1_0  = version(2, 8, 1, 0)
	V2_8_2_0  = version(2, 8, 2, 0)
	V3_0_0_0  = version(3, 0, 0, 0)
	V3_0_1_0  = version(3, 0, 1, 0)
	V3_0_2_0  = version(3, 0, 2, 0)
	V3_1_0_0  = version(3, 1, 0, 0)
	V3_1_1_0  = version(3, 1, 1, 0)
	V3_1_2_0  = version(3, 1, 2, 0)
	V3_2_0_0  = version(3, 2, 0, 0)
	V3_2_1_0  = version(3, 2, 1, 0)
	V3_2_2_0  = version(3, 2, 2, 0)
	V3_2_3_0  = version(3, 2, 3, 0)
	V3_3_0_0  = version(3, 3, 0, 0)
	V3_3_1_0  = version(3, 3, 1, 0)
	V3_3_2_0  = version(3, 3, 2, 0)
	V3_4_0_0  = version(3, 4, 0, 0)
	V3_4_1_0  = version(3, 4, 1, 0)
	V3_5_0_0  = version(3, 5, 0, 0)
	V3_5_1_0  = version(3, 5, 1, 0)
	V3_5_2_0  = version(3, 5, 2, 0)
	V3_6_0_0  = version(3, 6, 0, 0)
	V3_6_1_0  = version(3, 6, 1, 0)
	V3_6_2_0  = version(3, 6, 2, 0)
	V3_7_0_0  = version(3, 7, 0, 0)
	V3_7_1_0  = version(3, 7, 1, 0)
	V3_7_2_0  = version(3, 7, 2, 0)
	V3_8_0_0  = version(3, 8, 0, 0)
	V3_8_1_0  = version(3, 8, 1, 0)
	V3_9_0_0  = version(3, 9, 0, 0)
	V3_9_1_0  = version(3, 9, 1, 0)
	V3_9_2_0  = version(3, 9, 2, 0)
	V4_0_0_0  = version(4, 0, 0, 0)
	V4_0_1_0  = version(4, 0, 1, 0)
	V4_1_0_0  = version(4, 1, 0, 0)
	V4_1_1_0  = version(4, 1, 1, 0)
	V4_1_2_0  = version(4, 1, 2, 0)
	V4_2_0_0  = version(4, 2, 0, 0)
	V4_2_1_0  = version(4, 2, 1, 0)
	V4_3_0_0  = version(4, 3, 0, 0)
	V4_3_1_0  = version(4, 3, 1, 0)

	// SupportedVersions are all of them, the oldest first.
	SupportedVersions = []KafkaVersion{
		V0_8_2_0, V0_8_2_1, V0_8_2_2, V0_9_0_0, V0_9_0_1, V0_10_0_0,
		V0_10_0_1, V0_10_1_0, V0_10_1_1, V0_10_2_0, V0_10_2_1, V0_10_2_2,
		V0_11_0_0, V0_11_0_1, V0_11_0_2, V1_0_0_0, V1_0_1_0, V1_0_2_0,
		V1_1_0_0, V1_1_1_0, V2_0_0_0, V2_0_1_0, V2_1_0_0, V2_1_1_0,
		V2_2_0_0, V2_2_1_0, V2_2_2_0, V2_3_0_0, V2_3_1_0, V2_4_0_0,
		V2_4_1_0, V2_5_0_0, V2_5_1_0, V2_6_0_0, V2_6_1_0, V2_6_2_0,
		V2_6_3_0, V2_7_0_0, V2_7_1_0, V2_7_2_0, V2_8_0_0, V2_8_1_0,
		V2_8_2_0, V3_0_0_0, V3_0_1_0, V3_0_2_0, V3_1_0_0, V3_1_1_0,
		V3_1_2_0, V3_2_0_0, V3_2_1_0, V3_2_2_0, V3_2_3_0, V3_3_0_0,
		V3_3_1_0, V3_3_2_0, V3_4_0_0, V3_4_1_0, V3_5_0_0, V3_5_1_0,
		V3_5_2_0, V3_6_0_0, V3_6_1_0, V3_6_2_0, V3_7_0_0, V3_7_1_0,
		V3_7_2_0, V3_8_0_0, V3_8_1_0, V3_9_0_0, V3_9_1_0, V3_9_2_0,
		V4_0_0_0, V4_0_1_0, V4_1_0_0, V4_1_1_0, V4_1_2_0, V4_2_0_0,
		V4_2_1_0, V4_3_0_0, V4_3_1_0,
	}
	// MinVersion is the oldest of them.
	MinVersion = SupportedVersions[0]
	// MaxVersion is the newest.
	MaxVersion = SupportedVersions[len(SupportedVersions)-1]
	// DefaultVersion is what a config has that says nothing.
	DefaultVersion = V2_8_0_0
)

// versionForm is four numbers when the first is 0, and three otherwise.
var versionForm = regexp.MustCompile(`^(0\.\d+\.\d+\.\d+|[1-9]\d*\.\d+\.\d+)$`)

// ParseKafkaVersion reads a version as 0.11.0.2 or 2.8.0, also one that is not among those above.
// With an error it returns DefaultVersion.
func ParseKafkaVersion(s string) (KafkaVersion, error) {
	if !versionForm.MatchString(s) {
		return DefaultVersion, fmt.Errorf("invalid version `%s`", s)
	}
	var v KafkaVersion
	for i, text := range strings.Split(s, ".") {
		part, err := strconv.ParseUint(text, 10, strconv.IntSize)
		if err != nil {
			return DefaultVersion, fmt.Errorf("invalid version `%s`: %w", s, err)
		}
		v.parts[i] = uint(part)
	}
	return v, nil
}
