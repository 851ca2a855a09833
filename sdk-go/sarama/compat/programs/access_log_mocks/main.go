// An HTTP server that logs its requests, tried out against mocks instead of a broker.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/IBM/sarama"
	"github.com/IBM/sarama/mocks"
)

// reporter stands in for *testing.T.
type reporter struct{ failures int }

func (r *reporter) Errorf(format string, args ...interface{}) {
	r.failures++
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

type server struct {
	data sarama.SyncProducer
	log  sarama.AsyncProducer
}

type entry struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int    `json:"status"`

	encoded []byte
	err     error
}

func (e *entry) ensureEncoded() {
	if e.encoded == nil && e.err == nil {
		e.encoded, e.err = json.Marshal(e)
	}
}

func (e *entry) Length() int {
	e.ensureEncoded()
	return len(e.encoded)
}

func (e *entry) Encode() ([]byte, error) {
	e.ensureEncoded()
	return e.encoded, e.err
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	if r.URL.Path != "/" {
		status = http.StatusNotFound
	} else {
		_, _, err := s.data.SendMessage(&sarama.ProducerMessage{
			Topic: "important", Value: sarama.StringEncoder(r.URL.RawQuery),
		})
		if err != nil {
			status = http.StatusInternalServerError
		}
	}
	w.WriteHeader(status)
	s.log.Input() <- &sarama.ProducerMessage{
		Topic: "access_log",
		Key:   sarama.StringEncoder(r.RemoteAddr),
		Value: &entry{Method: r.Method, Path: r.URL.Path, Status: status},
	}
}

func main() {
	t := &reporter{}
	logged := func(status int) mocks.ValueChecker {
		return func(value []byte) error {
			if !strings.Contains(string(value), fmt.Sprintf(`"status":%d`, status)) {
				return fmt.Errorf("unexpected entry: %s", value)
			}
			return nil
		}
	}
	data := mocks.NewSyncProducer(t, nil)
	data.ExpectSendMessageAndSucceed()
	data.ExpectSendMessageAndFail(sarama.ErrOutOfBrokers)
	access := mocks.NewAsyncProducer(t, nil)
	access.ExpectInputWithCheckerFunctionAndSucceed(logged(200))
	access.ExpectInputWithCheckerFunctionAndSucceed(logged(500))
	access.ExpectInputWithCheckerFunctionAndFail(logged(404), errors.New("the log is full"))

	s := &server{data: data, log: access}
	for _, target := range []string{"/?data", "/?data", "/nope"} {
		response := httptest.NewRecorder()
		s.ServeHTTP(response, httptest.NewRequest(http.MethodGet, target, nil))
		fmt.Println(target, response.Code)
	}
	fmt.Println((<-access.Errors()).Err)
	for _, c := range []interface{ Close() error }{data, access} {
		if err := c.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	fmt.Println("failed expectations:", t.failures)

	unmet := &reporter{}
	unused := mocks.NewSyncProducer(unmet, nil)
	unused.ExpectSendMessageAndSucceed()
	_ = unused.Close()
	fmt.Println("unmet expectations are reported:", unmet.failures > 0)
}

// Output:
// /?data 200
// /?data 500
// /nope 404
// the log is full
// failed expectations: 0
// unmet expectations are reported: true
