package mocks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
	"github.com/ropewalk/ropewalk/sdk-go/sarama/mocks"
)

// A program in the manner of sarama's users: an HTTP server that collects what it is asked for,
// with a producer that waits, and logs each request, with one that does not.

type collector struct {
	data sarama.SyncProducer
	log  sarama.AsyncProducer
}

// entry is a line of the access log. It is encoded when it is sent.
type entry struct {
	Method string        `json:"method"`
	Path   string        `json:"path"`
	Took   time.Duration `json:"took"`

	encoded []byte
	err     error
}

func (e *entry) encode() {
	if e.encoded == nil && e.err == nil {
		e.encoded, e.err = json.Marshal(e)
	}
}

func (e *entry) Encode() ([]byte, error) {
	e.encode()
	return e.encoded, e.err
}

func (e *entry) Length() int {
	e.encode()
	return len(e.encoded)
}

func (c *collector) collect(w http.ResponseWriter, r *http.Request) {
	partition, offset, err := c.data.SendMessage(&sarama.ProducerMessage{
		Topic: "important", Value: sarama.StringEncoder(r.URL.RawQuery),
	})
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintf(w, "not stored: %s", err)
		return
	}
	_, _ = fmt.Fprintf(w, "important/%d/%d", partition, offset)
}

func (c *collector) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		c.collect(w, r)
		c.log.Input() <- &sarama.ProducerMessage{
			Topic: "access_log", Key: sarama.StringEncoder(r.RemoteAddr),
			Value: &entry{Method: r.Method, Path: r.URL.Path, Took: time.Since(began)},
		}
	})
}

func (c *collector) Close() error { return errors.Join(c.data.Close(), c.log.Close()) }

func get(t *testing.T, c *collector, target string) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	c.handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, target, nil))
	return answer
}

func TestCollectSuccessfully(t *testing.T) {
	data := mocks.NewSyncProducer(t, nil)
	data.SetPartitions(map[string]int32{"important": 1})
	data.ExpectSendMessageWithCheckerFunctionAndSucceed(func(value []byte) error {
		if string(value) != "data" {
			return fmt.Errorf("got %q", value)
		}
		return nil
	})
	log := mocks.NewAsyncProducer(t, nil)
	log.ExpectInputWithMessageCheckerFunctionAndSucceed(func(m *sarama.ProducerMessage) error {
		if m.Topic != "access_log" || m.Partition < 0 || m.Partition >= 32 {
			return fmt.Errorf("got %+v", m)
		}
		var logged entry
		value, err := m.Value.Encode()
		if err != nil {
			return err
		}
		if err := json.Unmarshal(value, &logged); err != nil {
			return err
		}
		if logged.Method != "GET" || logged.Path != "/" {
			return fmt.Errorf("got %+v", logged)
		}
		return nil
	})
	c := &collector{data, log}
	answer := get(t, c, "http://example.com/?data")
	if answer.Code != 200 || answer.Body.String() != "important/0/1" {
		t.Errorf("got %d, %q", answer.Code, answer.Body)
	}
	closing(t, c)
}

func TestCollectionFails(t *testing.T) {
	data := mocks.NewSyncProducer(t, mocks.NewTestConfig())
	data.ExpectSendMessageAndFail(sarama.ErrRequestTimedOut)
	log := mocks.NewAsyncProducer(t, mocks.NewTestConfig())
	log.ExpectInputAndSucceed()
	c := &collector{data, log}
	if answer := get(t, c, "http://example.com/?data"); answer.Code != 500 {
		t.Errorf("got %d", answer.Code)
	}
	closing(t, c)
}

// Expectations that are not met fail the test.
func TestCollectionIsNotAsExpected(t *testing.T) {
	var r reports
	data, log := mocks.NewSyncProducer(&r, nil), mocks.NewAsyncProducer(&r, nil)
	log.ExpectInputAndSucceed().ExpectInputAndSucceed()
	c := &collector{data, log}
	if answer := get(t, c, "http://example.com/?data"); answer.Code != 500 {
		t.Errorf("got %d", answer.Code)
	}
	closing(t, c)
	r.want(t, "No more expectation set on this mock producer to handle the input message.",
		"Expected to exhaust all expectations, but 1 are left.")
}
