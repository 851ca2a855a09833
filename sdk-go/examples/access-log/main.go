// Access-log serves HTTP and keeps its access log in a topic, in the Common Log Format; and it
// counts what is in such a log.
//
//	go run ./examples/access-log -listen localhost:8080
//	go run ./examples/access-log -report
//
// Lines are sent in batches, compressed with zstd. A request waits for its line 50 ms at most, and
// that only where there is no room for it, as when the broker is away for long: the line is dropped
// then, and counted. ROPEWALK_SERVER names the broker; default localhost:9092.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const topic = "access-log"

// entry is one line of the log.
type entry struct {
	host, request string
	at            time.Time
	status, bytes int
}

const (
	commonLog  = "%s - - [%s] %q %d %d"
	timeFormat = "02/Jan/2006:15:04:05 -0700"
)

// codec is the format as a codec of values: any other program reads the lines too.
type codec struct{}

func (codec) Marshal(e entry) ([]byte, error) {
	at := e.at.Format(timeFormat)
	return fmt.Appendf(nil, commonLog, e.host, at, e.request, e.status, e.bytes), nil
}

func (codec) Unmarshal(line []byte) (e entry, err error) {
	before, at, ok := strings.Cut(string(line), " - - [")
	at, after, found := strings.Cut(at, "] ")
	if !ok || !found {
		return entry{}, fmt.Errorf("%q is no line of an access log", line)
	}
	e.host = before
	if _, err = fmt.Sscanf(after, "%q %d %d", &e.request, &e.status, &e.bytes); err != nil {
		return entry{}, err
	}
	e.at, err = time.Parse(timeFormat, at)
	return e, err
}

// counted is a response that remembers what was written.
type counted struct {
	http.ResponseWriter
	status, bytes int
}

func (c *counted) WriteHeader(status int) {
	if status >= http.StatusOK { // others come before it
		c.status = cmp.Or(c.status, status)
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(p []byte) (int, error) {
	c.status = cmp.Or(c.status, http.StatusOK)
	n, err := c.ResponseWriter.Write(p)
	c.bytes += n
	return n, err
}

// Unwrap has http.ResponseController find what else the response can, as to flush it.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// site leaves a line for each request of a handler.
type site struct {
	handler http.Handler
	lines   *ropewalk.TypedProducer[entry]
	lost    atomic.Int64
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &counted{ResponseWriter: w}
	s.handler.ServeHTTP(c, r)
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // it is always of that form
	e := entry{
		host, r.Method + " " + r.RequestURI + " " + r.Proto, time.Now(),
		cmp.Or(c.status, http.StatusOK), c.bytes,
	}
	// The line is to be kept also when the visitor has gone, and no visitor is to wait for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 50*time.Millisecond)
	defer cancel()
	// With the host as its key, the lines of a visitor stay in order.
	done := func(_ *ropewalk.Record, _ ropewalk.Ack, err error) { s.lose(err) }
	s.lose(s.lines.SendAsync(ctx, []byte(host), e, done))
}

// lose counts a line that is not in the log, if there is an error. It does not say so of each.
func (s *site) lose(err error) {
	if err == nil {
		return
	}
	if n := s.lost.Add(1); n&(n-1) == 0 { // 1, 2, 4, 8 ...
		log.Printf("%d lines are lost, the last one: %v", n, err)
	}
}

func hello(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintln(w, "hello", r.FormValue("name"))
}

func serve(ctx context.Context, client *ropewalk.Client, address string) error {
	// The first look at the topic takes longer than a request is to wait.
	if _, err := client.Partitions(ctx, topic); err != nil {
		return err
	}
	producer, err := client.NewProducer(
		ropewalk.WithCompression(ropewalk.CompressionZstd),
		// One line alone would not get smaller.
		ropewalk.WithBatching(ropewalk.Batching{Linger: 500 * time.Millisecond, Bytes: 64 << 10}))
	if err != nil {
		return err
	}
	lines := ropewalk.NewTypedProducer(producer, topic, codec{})
	s := &site{handler: http.HandlerFunc(hello), lines: lines}
	err = listen(ctx, &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}, address)
	// No request is open any more: now the last lines. A broker that is away is waited for, up to
	// the delivery timeout.
	err = errors.Join(err, producer.Close())
	if n := s.lost.Load(); n > 0 {
		log.Printf("%d lines are lost", n)
	}
	return err
}

// listen serves until the context ends, and then until the open requests are done, for so long.
func listen(ctx context.Context, server *http.Server, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening on", listener.Addr())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	// Serve returns when this begins, and not when it ends.
	if err := server.Shutdown(limit); err != nil {
		return errors.Join(err, server.Close())
	}
	return nil
}

// report counts the requests by their status.
func report(ctx context.Context, client *ropewalk.Client) error {
	consumer, err := client.NewConsumer(ctx,
		ropewalk.WithTopics(topic), ropewalk.WithStop(ropewalk.StopCaughtUp()))
	if err != nil {
		return err
	}
	defer consumer.Close()
	requests := map[int]int{}
	for line, err := range ropewalk.Values(consumer.Records(ctx), codec{}) {
		if err != nil {
			return err
		}
		requests[line.Value.status]++
	}
	for _, status := range slices.Sorted(maps.Keys(requests)) {
		fmt.Println(status, requests[status])
	}
	return nil
}

func run(ctx context.Context, address string, reports bool) (err error) {
	server := cmp.Or(os.Getenv("ROPEWALK_SERVER"), "localhost:9092")
	client, err := ropewalk.Dial(ctx, []string{server})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if reports {
		return report(ctx, client)
	}
	return serve(ctx, client, address)
}

func main() {
	address := flag.String("listen", "localhost:8080", "where to serve")
	reports := flag.Bool("report", false, "count what is in the log")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, *address, *reports); err != nil {
		log.Fatal(err)
	}
}
