package sarama_test

import (
	"slices"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func TestVersionsInOrder(t *testing.T) {
	all := sarama.SupportedVersions
	if all[0] != sarama.MinVersion || all[len(all)-1] != sarama.MaxVersion ||
		!slices.Contains(all, sarama.DefaultVersion) {
		t.Errorf("min %v, default %v, max %v",
			sarama.MinVersion, sarama.DefaultVersion, sarama.MaxVersion)
	}
	for i, version := range all {
		for j, other := range all {
			if version.IsAtLeast(other) != (i >= j) {
				t.Errorf("%v at least %v: %v", version, other, i < j)
			}
		}
		if parsed, err := sarama.ParseKafkaVersion(version.String()); err != nil || parsed != version {
			t.Errorf("%v is read as %v (%v)", version, parsed, err)
		}
	}
}

func TestParseKafkaVersion(t *testing.T) {
	for _, test := range []struct {
		text, want string
		fails      bool
	}{
		{"", "2.8.0", true},
		{"0", "2.8.0", true},
		{"1.0", "2.8.0", true},
		{"0.8.2", "2.8.0", true},
		{"0.8.2.0", "0.8.2.0", false},
		{"0.11.0.2", "0.11.0.2", false},
		{"1.0.0", "1.0.0", false},
		{"1.0.0.0", "2.8.0", true},
		{"2.8.0", "2.8.0", false},
		{"10.20.30", "10.20.30", false},
		{"00.1.2.3", "2.8.0", true},
		{"1.2.x", "2.8.0", true},
		{" 1.2.3", "2.8.0", true},
		{"1.2.3 ", "2.8.0", true},
		{"0.1.2.3.4", "2.8.0", true},
		{"99999999999999999999.1.1", "2.8.0", true},
		{"3.9.2", "3.9.2", false},
		{"0.0.0.0", "0.0.0.0", false},
		{"01.2.3", "2.8.0", true},
		{"1.2.3\n", "2.8.0", true},
	} {
		got, err := sarama.ParseKafkaVersion(test.text)
		if got.String() != test.want || (err != nil) != test.fails {
			t.Errorf("%q is read as %v (%v)", test.text, got, err)
		}
	}
}
