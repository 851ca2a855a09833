package sarama

import (
	"context"
	"strings"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// The core takes the options of any settings that are valid: it is left without an address only.
func TestClientOptions(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"defaults":     func(*Config) {},
		"no refresh":   func(c *Config) { c.Metadata.RefreshFrequency = 0 },
		"no client id": func(c *Config) { c.ClientID = "" },
		"short": func(c *Config) {
			c.Net.DialTimeout, c.Net.ReadTimeout, c.Net.WriteTimeout = 1, 1, 1
			c.Metadata.RefreshFrequency = 1
		},
		"long": func(c *Config) {
			const longest = time.Duration(1<<63 - 1)
			c.Net.DialTimeout, c.Net.ReadTimeout, c.Net.WriteTimeout = longest, longest, longest
			c.Metadata.RefreshFrequency = longest
		},
		"TLS": func(c *Config) { c.Net.TLS.Enable = true },
	} {
		config := NewConfig()
		change(config)
		if err := config.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, err := ropewalk.Dial(context.Background(), nil, config.clientOptions()...)
		if err == nil || !strings.Contains(err.Error(), "no address") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
