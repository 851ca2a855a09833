package sarama_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"net"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// eachField calls f with each field of a config that is not a group of fields.
func eachField(config *sarama.Config, f func(path string, field reflect.Value)) {
	var walk func(path string, value reflect.Value)
	walk = func(path string, value reflect.Value) {
		if value.Kind() == reflect.Struct && value.Type().Name() == "" {
			for i := range value.NumField() {
				walk(path+"."+value.Type().Field(i).Name, value.Field(i))
			}
			return
		}
		f(path[1:], value)
	}
	root := reflect.ValueOf(config).Elem()
	for i := range root.NumField() {
		walk("."+root.Type().Field(i).Name, root.Field(i))
	}
}

// documented is the table of settings in the package's documentation.
func documented(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "doc_config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`^\t([A-Z][A-Za-z0-9.]+) +((acts|harmless|refused)\b.*)$`)
	table := map[string]string{}
	for line := range strings.Lines(file.Doc.Text()) {
		if parts := row.FindStringSubmatch(strings.TrimSuffix(line, "\n")); parts != nil {
			table[parts[1]] = parts[2]
		}
	}
	return table
}

// changed are values other than the default, where the kind of a field does not suggest one.
var changed = map[string]any{
	"Net.MaxOpenRequests":                      1,
	"Net.Proxy.Dialer":                         sarama.ProxyDialer(&net.Dialer{}),
	"Net.LocalAddr":                            net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}),
	"Net.TLS.Config":                           &tls.Config{},
	"Net.SASL.GSSAPI":                          sarama.GSSAPIConfig{Realm: "x"},
	"Net.SASL.TokenProvider":                   sarama.AccessTokenProvider(noToken{}),
	"Producer.RequiredAcks":                    sarama.WaitForAll,
	"Producer.CompressionLevel":                5,
	"Producer.Partitioner":                     sarama.NewCustomPartitioner(),
	"Producer.Interceptors":                    []sarama.ProducerInterceptor{onSend(nil)},
	"Consumer.Interceptors":                    []sarama.ConsumerInterceptor{onConsume(nil)},
	"Consumer.Group.Rebalance.Strategy":        sarama.NewBalanceStrategyRange(),
	"Consumer.Group.Rebalance.GroupStrategies": []sarama.BalanceStrategy{speaks{}},
	"Consumer.Group.Member.UserData":           []byte("x"),
	"Consumer.Offsets.Initial":                 sarama.OffsetOldest,
	"Version":                                  sarama.MaxVersion,
	"MetricRegistry":                           sarama.NewMetricRegistry(),
}

// change sets a field to another value than its default.
func change(t *testing.T, path string, field reflect.Value) {
	t.Helper()
	if value, ok := changed[path]; ok {
		field.Set(reflect.ValueOf(value))
		return
	}
	switch field.Kind() {
	case reflect.Bool:
		field.SetBool(!field.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		field.SetInt(field.Int() + 1)
	case reflect.String:
		field.SetString("x")
	case reflect.Func:
		field.Set(reflect.MakeFunc(field.Type(), func([]reflect.Value) []reflect.Value {
			return []reflect.Value{reflect.Zero(field.Type().Out(0))}
		}))
	default:
		t.Fatalf("%s: no other value of %s is known", path, field.Type())
	}
}

// needs are settings that a change of another one needs.
func needs(path string, c *sarama.Config) {
	switch path {
	case "Net.Proxy.Enable":
		c.Net.Proxy.Dialer = &net.Dialer{}
	case "Producer.CompressionLevel":
		c.Producer.Compression = sarama.CompressionGZIP
	case "Producer.Idempotent", "Producer.Transaction.ID":
		c.Producer.Idempotent, c.Producer.RequiredAcks = true, sarama.WaitForAll
		c.Net.MaxOpenRequests = 1
	}
}

// The table in the documentation has each field, and says the truth of what is refused.
func TestEachFieldIsDocumented(t *testing.T) {
	table := documented(t)
	eachField(sarama.NewConfig(), func(path string, _ reflect.Value) {
		what, ok := table[path]
		delete(table, path)
		if !ok {
			t.Errorf("%s: the table does not have it", path)
			return
		}
		config := sarama.NewConfig()
		needs(path, config)
		eachField(config, func(p string, field reflect.Value) {
			if p == path && p != "Producer.Idempotent" {
				change(t, path, field)
			}
		})
		err := config.Validate()
		refusal, refused := strings.CutPrefix(what, "refused: ")
		switch {
		case !refused && err != nil:
			t.Errorf("%s: %s, but: %v", path, what, err)
		case refused && err == nil:
			t.Errorf("%s: it is not refused", path)
		case refused:
			var configuration sarama.ConfigurationError
			if !errors.As(err, &configuration) || !strings.HasPrefix(string(configuration), path+" ") ||
				!strings.HasSuffix(string(configuration), refusal) {
				t.Errorf("%s: %s, but: %v", path, what, err)
			}
		}
	})
	for path := range table {
		t.Errorf("%s: the table has it, Config does not", path)
	}
}

// The defaults are sarama's: this is what version 1.61.1 has.
func TestDefaults(t *testing.T) {
	got := map[string]string{}
	eachField(sarama.NewConfig(), func(path string, field reflect.Value) {
		switch field.Kind() {
		case reflect.Bool, reflect.String,
			reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			got[path] = fmt.Sprint(field.Interface())
		default:
			if isDefault := !field.IsZero(); isDefault != isSetByDefault[path] {
				t.Errorf("%s: set by default: %v", path, isDefault)
			}
		}
	})
	for path, want := range defaults {
		if got[path] != want {
			t.Errorf("%s is %s, want %s", path, got[path], want)
		}
		delete(got, path)
	}
	if len(got) > 0 {
		t.Errorf("what is the default of %v?", got)
	}
	if version := sarama.NewConfig().Version; version != sarama.V2_8_0_0 {
		t.Errorf("version %v", version)
	}
	strategies := sarama.NewConfig().Consumer.Group.Rebalance.GroupStrategies
	if len(strategies) != 1 || strategies[0].Name() != "range" {
		t.Errorf("strategies %v", strategies)
	}
}

var defaults = map[string]string{
	"Admin.Retry.Max":                        "5",
	"Admin.Retry.Backoff":                    "100ms",
	"Admin.Timeout":                          "3s",
	"Net.MaxOpenRequests":                    "5",
	"Net.DialTimeout":                        "30s",
	"Net.ReadTimeout":                        "30s",
	"Net.WriteTimeout":                       "30s",
	"Net.ResolveCanonicalBootstrapServers":   "false",
	"Net.TLS.Enable":                         "false",
	"Net.SASL.Enable":                        "false",
	"Net.SASL.Mechanism":                     "",
	"Net.SASL.Version":                       "1",
	"Net.SASL.Handshake":                     "true",
	"Net.SASL.AuthIdentity":                  "",
	"Net.SASL.User":                          "",
	"Net.SASL.Password":                      "",
	"Net.SASL.SCRAMAuthzID":                  "",
	"Net.KeepAlive":                          "0s",
	"Net.Proxy.Enable":                       "false",
	"Metadata.Retry.Max":                     "3",
	"Metadata.Retry.Backoff":                 "250ms",
	"Metadata.RefreshFrequency":              "10m0s",
	"Metadata.Full":                          "true",
	"Metadata.Timeout":                       "0s",
	"Metadata.AllowAutoTopicCreation":        "true",
	"Metadata.SingleFlight":                  "true",
	"Producer.MaxMessageBytes":               "1048576",
	"Producer.RequiredAcks":                  "1",
	"Producer.Timeout":                       "10s",
	"Producer.Compression":                   "none",
	"Producer.CompressionLevel":              "-1000",
	"Producer.Idempotent":                    "false",
	"Producer.Transaction.ID":                "",
	"Producer.Transaction.Timeout":           "1m0s",
	"Producer.Transaction.Retry.Max":         "50",
	"Producer.Transaction.Retry.Backoff":     "100ms",
	"Producer.Return.Successes":              "false",
	"Producer.Return.Errors":                 "true",
	"Producer.Flush.Bytes":                   "0",
	"Producer.Flush.Messages":                "0",
	"Producer.Flush.Frequency":               "0s",
	"Producer.Flush.MaxMessages":             "0",
	"Producer.Retry.Max":                     "3",
	"Producer.Retry.Backoff":                 "100ms",
	"Producer.Retry.MaxBufferLength":         "0",
	"Producer.Retry.MaxBufferBytes":          "0",
	"Consumer.Group.Session.Timeout":         "10s",
	"Consumer.Group.Heartbeat.Interval":      "3s",
	"Consumer.Group.Rebalance.Timeout":       "1m0s",
	"Consumer.Group.Rebalance.Retry.Max":     "4",
	"Consumer.Group.Rebalance.Retry.Backoff": "2s",
	"Consumer.Group.InstanceId":              "",
	"Consumer.Group.ResetInvalidOffsets":     "true",
	"Consumer.Retry.Backoff":                 "2s",
	"Consumer.Retry.Max":                     "0",
	"Consumer.Fetch.Min":                     "1",
	"Consumer.Fetch.Default":                 "1048576",
	"Consumer.Fetch.Max":                     "0",
	"Consumer.Fetch.MaxBytes":                "52428800",
	"Consumer.MaxWaitTime":                   "500ms",
	"Consumer.MaxProcessingTime":             "100ms",
	"Consumer.Return.Errors":                 "false",
	"Consumer.Offsets.CommitInterval":        "0s",
	"Consumer.Offsets.AutoCommit.Enable":     "true",
	"Consumer.Offsets.AutoCommit.Interval":   "1s",
	"Consumer.Offsets.Initial":               "-1",
	"Consumer.Offsets.Retention":             "0s",
	"Consumer.Offsets.Retry.Max":             "3",
	"Consumer.IsolationLevel":                "0",
	"ClientID":                               "sarama",
	"RackID":                                 "",
	"ChannelBufferSize":                      "256",
	"ApiVersionsRequest":                     "true",
}

var isSetByDefault = map[string]bool{
	"Producer.Partitioner": true, "Consumer.Group.Rebalance.GroupStrategies": true,
	"Version": true, "MetricRegistry": true,
}

type noToken struct{}

func (noToken) Token() (*sarama.AccessToken, error) { return nil, errors.New("no token") }

type onSend func(*sarama.ProducerMessage)

func (f onSend) OnSend(m *sarama.ProducerMessage) { f(m) }

type onConsume func(*sarama.ConsumerMessage)

func (f onConsume) OnConsume(m *sarama.ConsumerMessage) { f(m) }
