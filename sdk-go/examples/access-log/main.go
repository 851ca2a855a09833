// Access-log serves HTTP and keeps its access log in a topic, in the Common Log Format; and it
// counts what is in such a log.
//
//	go run ./examples/access-log -listen localhost:8080
//	go run ./examples/access-log -report
//
// No request waits for its line: lines are sent in batches, compressed with zstd. ROPEWALK_SERVER
// names the broker; default localhost:9092.
package main

import (
	"cmp"
	"context"
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
	c.status = cmp.Or(c.status, status)
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(p []byte) (int, error) {
	c.status = cmp.Or(c.status, http.StatusOK)
	n, err := c.ResponseWriter.Write(p)
	c.bytes += n
	return n, err
}

// logged has each request of a handler leave a line.
func logged(handler http.Handler, lines *ropewalk.TypedProducer[entry]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &counted{ResponseWriter: w}
		handler.ServeHTTP(c, r)
		host, _, _ := net.SplitHostPort(r.RemoteAddr) // it is always of that form
		e := entry{
			host, r.Method + " " + r.URL.Path + " " + r.Proto, time.Now(),
			cmp.Or(c.status, http.StatusOK), c.bytes,
		}
		// The line is to be kept also when the visitor has gone.
		ctx := context.WithoutCancel(r.Context())
		// With the host as its key, the lines of a visitor stay in order.
		err := lines.SendAsync(ctx, []byte(host), e, func(_ *ropewalk.Record, _ ropewalk.Ack, err error) {
			if err != nil {
				log.Println("a line is lost:", err)
			}
		})
		if err != nil {
			log.Println("a line is lost:", err)
		}
	})
}

func hello(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintln(w, "hello")
}

func serve(ctx context.Context, client *ropewalk.Client, address string) error {
	producer, err := client.NewProducer(ropewalk.WithCompression(ropewalk.CompressionZstd))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	lines := ropewalk.NewTypedProducer(producer, topic, codec{})
	server := &http.Server{
		Handler: logged(http.HandlerFunc(hello), lines), ReadHeaderTimeout: 10 * time.Second,
	}
	fmt.Println("listening on", listener.Addr())
	stop := context.AfterFunc(ctx, func() { _ = server.Shutdown(context.Background()) })
	defer stop()
	if err := server.Serve(listener); ctx.Err() == nil {
		return err
	}
	return producer.Close() // with the last lines
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

func main() {
	listen := flag.String("listen", "localhost:8080", "where to serve")
	reports := flag.Bool("report", false, "count what is in the log")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := cmp.Or(os.Getenv("ROPEWALK_SERVER"), "localhost:9092")
	client, err := ropewalk.Dial(ctx, []string{server})
	if err != nil {
		log.Fatal(err)
	}
	if *reports {
		err = report(ctx, client)
	} else {
		err = serve(ctx, client, *listen)
	}
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
}
