//go:build unix

package examples

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// connect is a client of the test's own, beside the program.
func connect(t *testing.T, broker *ropewalktest.Broker) *ropewalk.Client {
	t.Helper()
	client, err := ropewalk.Dial(limited(t), []string{broker.Address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// send appends the numbers from first up to but not including last, in their order, to partition 0.
func send(t *testing.T, client *ropewalk.Client, topic string, first, last int) {
	t.Helper()
	sendTo(t, client, topic, 0, first, last)
}

func sendTo(
	t *testing.T, client *ropewalk.Client, topic string, partition int32, first, last int,
) {
	t.Helper()
	producer, err := client.NewProducer(ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
	if err != nil {
		t.Fatal(err)
	}
	for i := first; i < last; i++ {
		key, value := fmt.Append(nil, "k", i%2), fmt.Append(nil, i)
		record := &ropewalk.Record{Topic: topic, Partition: partition, Key: key, Value: value}
		if err := producer.SendAsync(limited(t), record, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
}

func server(broker *ropewalktest.Broker) string { return "ROPEWALK_SERVER=" + broker.Address }

// rest are the lines up to the program's end.
func (p *program) rest() []string {
	var lines []string
	for line := range p.lines {
		lines = append(lines, line)
	}
	return lines
}

func (p *program) succeed(t *testing.T) {
	t.Helper()
	if err := p.wait(); err != nil {
		t.Fatalf("the program failed: %v", err)
	}
}

// What visitors ask for is in the log, also the last of it: a request that is open when the program is
// told to end is finished, and its line is there.
func TestAccessLog(t *testing.T) {
	broker := ropewalktest.Start(t)
	site := startWith(t, []string{"access-log", "-listen", "127.0.0.1:0"}, server(broker))
	address, ok := strings.CutPrefix(site.line(t, patience), "listening on ")
	if !ok {
		t.Fatal("the program does not say where it is")
	}
	for path, status := range map[string]int{"/?name=ada": 200, "/nowhere": 404, "/lost": 404} {
		response, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%s is %d", path, response.StatusCode)
		}
	}
	http.DefaultClient.CloseIdleConnections()

	open, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	_, err = fmt.Fprint(open, "POST /?last HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(open)
	// Whoever handles it reads its body now.
	if line, err := answer.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("the server said %q, %v", line, err)
	}
	if err := site.signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for ctx := limited(t); ; {
		c, err := net.Dial("tcp", address)
		if err != nil {
			break // it takes no more of them
		}
		_ = c.Close()
		if ctx.Err() != nil {
			t.Fatal("it does not end")
		}
	}
	if _, err := fmt.Fprint(open, "name=grace"); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(answer); !strings.HasSuffix(string(rest), "hello grace\n") {
		t.Errorf("the last visitor got %q, %v", rest, err)
	}
	site.succeed(t)

	report := startWith(t, []string{"access-log", "-report"}, server(broker))
	report.succeed(t)
	if lines := report.rest(); strings.Join(lines, ", ") != "200 2, 404 2" {
		t.Errorf("the report is %q", lines)
	}
	consumer, err := connect(t, broker).NewConsumer(limited(t), ropewalk.WithTopics("access-log"))
	if err != nil {
		t.Fatal(err)
	}
	record, err := consumer.Next(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	if line := string(record.Value); !strings.HasPrefix(line, "127.0.0.1 - - [") ||
		!strings.Contains(line, "HTTP/1.1\" ") {
		t.Errorf("a line is %q", line)
	}
}

// Every record is in a file, once, of each partition, also when the program crashes before it has
// committed. What a crash leaves of an open file is thrown away.
func TestPipeline(t *testing.T) {
	broker, dir := ropewalktest.Start(t), t.TempDir()
	client := connect(t, broker)
	if _, err := client.Admin().CreateTopic(limited(t), "orders", 2); err != nil {
		t.Fatal(err)
	}
	sendTo(t, client, "orders", 0, 0, 25)
	sendTo(t, client, "orders", 1, 0, 8)
	// Of a file that was synced, and not committed; of one that was not ended; and of another topic.
	for _, left := range []string{
		"orders-1-00000000000000000000.ndjson", "orders-0-00000000000000000010.ndjson.1.part",
		"orders-1-0-00000000000000000010.ndjson.1.part",
	} {
		if err := os.WriteFile(filepath.Join(dir, left), []byte("half a li"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	arguments := []string{"pipeline", "-dir", dir, "-records", "10", "-age", "1h"}
	first := startWith(t, arguments, server(broker))
	for _, name := range []string{"orders-0-00000000000000000000", "orders-0-00000000000000000010"} {
		if line := first.line(t, patience); line != name+".ndjson 10" {
			t.Fatalf("the program said %q", line)
		}
	}
	if err := first.kill(); err == nil {
		t.Fatal("it has ended by itself")
	}
	sendTo(t, client, "orders", 0, 25, 31)
	arguments[6] = "1ms"
	second := startWith(t, arguments, server(broker))
	committed(t, client, "pipeline", "orders", 31, 8)
	second.interrupt(t)
	other := filepath.Join(dir, "orders-1-0-00000000000000000010.ndjson.1.part")
	if err := os.Remove(other); err != nil {
		t.Errorf("what is another topic's: %v", err)
	}
	eachIsThereOnce(t, dir, 31, 8)
}

// Two members write into one directory. The one that comes leaves the other's open files alone.
func TestPipelineOfTwoMembers(t *testing.T) {
	broker, dir := ropewalktest.Start(t), t.TempDir()
	client := connect(t, broker)
	if _, err := client.Admin().CreateTopic(limited(t), "orders", 2); err != nil {
		t.Fatal(err)
	}
	sendTo(t, client, "orders", 0, 0, 5)
	sendTo(t, client, "orders", 1, 0, 5)
	arguments := []string{"pipeline", "-dir", dir, "-age", "1h"}
	open := func(partition int, offset int64) {
		t.Helper()
		name := fmt.Sprintf("orders-%d-%020d.ndjson.*.part", partition, offset)
		for ctx := limited(t); ; time.Sleep(10 * time.Millisecond) {
			if found, _ := filepath.Glob(filepath.Join(dir, name)); len(found) == 1 {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("%s is not open", name)
			}
		}
	}
	first := startWith(t, arguments, server(broker))
	open(0, 0)
	open(1, 0)
	second := startWith(t, arguments, server(broker))
	// The one partition that moves ends with the first; the file of the other one stays open.
	moved := 0
	if line := first.line(t, patience); line == "orders-1-00000000000000000000.ndjson 5" {
		moved = 1
	} else if line != "orders-0-00000000000000000000.ndjson 5" {
		t.Fatalf("the first member said %q", line)
	}
	open(1-moved, 0)
	sendTo(t, client, "orders", int32(moved), 5, 9)
	open(moved, 5)
	open(1-moved, 0)
	first.interrupt(t)
	second.interrupt(t)
	want := []int{5, 5}
	want[moved] = 9
	eachIsThereOnce(t, dir, want...)
}

// What is in a record is in its line, also what is no text, and what is not there.
func TestPipelineKeepsBytes(t *testing.T) {
	broker, dir := ropewalktest.Start(t), t.TempDir()
	producer, err := connect(t, broker).NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*ropewalk.Record{
		{Value: []byte{0xff, 0}, Headers: []ropewalk.Header{{Key: "trace", Value: []byte{0xfe}}}},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("gone")},
	} {
		r.Topic = "orders"
		if _, err := producer.Send(limited(t), r); err != nil {
			t.Fatal(err)
		}
	}
	program := startWith(t, []string{"pipeline", "-dir", dir, "-records", "3"}, server(broker))
	program.line(t, patience)
	program.interrupt(t)
	lines := readLines(t, filepath.Join(dir, "orders-0-00000000000000000000.ndjson"))
	got, err := json.Marshal(lines)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`"Time":"[^"]*",`).ReplaceAllString(string(got), "")
	const want = `[` +
		`{"Partition":0,"Offset":0,"Key":null,"Value":"/wA=","Headers":[{"Key":"trace","Value":"/g=="}]},` +
		`{"Partition":0,"Offset":1,"Key":"","Value":"","Headers":null},` +
		`{"Partition":0,"Offset":2,"Key":"Z29uZQ==","Value":null,"Headers":null}]`
	if text != want {
		t.Errorf("the lines are %s", text)
	}
}

// eachIsThereOnce: the files of a directory have so many records of the partitions from 0.
func eachIsThereOnce(t *testing.T, dir string, records ...int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	type place struct {
		partition int32
		offset    int64
	}
	seen, counts := map[place]string{}, make([]int, len(records))
	for _, name := range names {
		if !strings.HasSuffix(name, ".ndjson") {
			t.Errorf("%s is left", name)
			continue
		}
		for _, l := range readLines(t, name) {
			at := place{l.Partition, l.Offset}
			if string(l.Value) != fmt.Sprint(l.Offset) || string(l.Key) != fmt.Sprint("k", l.Offset%2) ||
				l.Time.IsZero() {
				t.Errorf("%s has %+v", name, l)
			}
			if !strings.HasPrefix(filepath.Base(name), fmt.Sprintf("orders-%d-", l.Partition)) {
				t.Errorf("%v is in %s", at, name)
			}
			if other := seen[at]; other != "" {
				t.Errorf("%v is in %s and in %s", at, other, name)
			}
			seen[at] = name
			counts[l.Partition]++
		}
	}
	if !slices.Equal(counts, records) {
		t.Errorf("%v records are in %d files", counts, len(names))
	}
}

type written struct {
	Partition  int32
	Offset     int64
	Time       time.Time
	Key, Value []byte
	Headers    []ropewalk.Header
}

func readLines(t *testing.T, name string) []written {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var lines []written
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		var l written
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return lines
}

// What is done is committed, and only that; whoever comes next goes on behind it.
func TestManualCommits(t *testing.T) {
	broker := ropewalktest.Start(t)
	client := connect(t, broker)
	send(t, client, "payments", 0, 20)
	first := startWith(t, []string{"manual-commits"}, server(broker))
	last := map[string]int{"k0": -1, "k1": -1}
	for range 20 {
		var value int
		var key string
		line := first.line(t, patience)
		if _, err := fmt.Sscanf(line, "%d of %s is booked", &value, &key); err != nil {
			t.Fatalf("the program said %q", line)
		}
		if value <= last[key] {
			t.Errorf("%s: %d comes after %d", key, value, last[key])
		}
		last[key] = value
	}
	committed(t, client, "bookkeeping", "payments", 20)
	first.interrupt(t)
	send(t, client, "payments", 20, 21)
	second := startWith(t, []string{"manual-commits"}, server(broker))
	if line := second.line(t, patience); line != "20 of k0 is booked" {
		t.Errorf("then it said %q", line)
	}
	committed(t, client, "bookkeeping", "payments", 21)
	second.interrupt(t)
}

// Before a partition goes to another member, what is at hand of it is finished and committed: nothing
// is booked twice. What can never be booked is set aside, and holds up nothing.
func TestManualCommitsOfTwoMembers(t *testing.T) {
	broker := ropewalktest.Start(t)
	client := connect(t, broker)
	if _, err := client.Admin().CreateTopic(limited(t), "payments", 2); err != nil {
		t.Fatal(err)
	}
	producer, err := client.NewProducer(ropewalk.WithPartitioner(ropewalk.ManualPartitioner))
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	pay := func(values ...string) {
		t.Helper()
		for _, value := range values {
			for partition := range int32(2) {
				record := &ropewalk.Record{
					Topic: "payments", Partition: partition,
					Key: fmt.Append(nil, "k", partition, sent%5), Value: []byte(value),
				}
				if _, err := producer.Send(limited(t), record); err != nil {
					t.Fatal(err)
				}
			}
			sent++
		}
	}
	arguments := []string{"manual-commits", "-takes", "50ms", "-workers", "2"}
	pay("none", "1", "2")
	first := startWith(t, arguments, server(broker))
	booked := []string{first.line(t, patience)}
	second := startWith(t, arguments, server(broker))
	for ctx := limited(t); len(second.lines) == 0; {
		pay(fmt.Sprint(sent)) // for the second has nothing to do once the first is done with it
		select {
		case line := <-first.lines:
			booked = append(booked, line)
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the second member booked nothing")
		}
	}
	collected := make(chan []string, 2)
	for _, p := range []*program{first, second} {
		go func() { collected <- p.rest() }()
	}
	committed(t, client, "bookkeeping", "payments", int64(sent), int64(sent))
	first.interrupt(t)
	second.interrupt(t)
	booked = append(booked, append(<-collected, <-collected...)...)
	slices.Sort(booked)
	if got := len(slices.Compact(slices.Clone(booked))); got != len(booked) {
		t.Errorf("of %d records that were booked, %d are different", len(booked), got)
	}
	if len(booked) != 2*(sent-1) {
		t.Errorf("%d records are booked, and not %d", len(booked), 2*(sent-1))
	}
	failed, err := client.NewConsumer(limited(t), ropewalk.WithTopics("payments-failed"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r, err := failed.Next(limited(t)); err != nil || string(r.Value) != "none" {
			t.Errorf("set aside is %+v, %v", r, err)
		}
	}
}

// committed waits until a group is at these offsets of the partitions from 0.
func committed(t *testing.T, client *ropewalk.Client, group, topic string, want ...int64) {
	t.Helper()
	ctx := limited(t)
	for {
		offsets, err := client.Admin().GetCommittedOffsets(ctx, group, topic)
		at := make([]int64, len(want))
		for _, o := range offsets {
			at[o.Partition] = o.Offset
		}
		if err == nil && slices.Equal(at, want) {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s has committed %v, %v", group, offsets, err)
		}
	}
}

// A group that is behind is shown with its lag, and too much of it ends the program with an error.
func TestLagMonitor(t *testing.T) {
	broker := ropewalktest.Start(t)
	client := connect(t, broker)
	send(t, client, "orders", 0, 12)
	err := client.Admin().CommitOffset(limited(t), "billing", ropewalk.CommittedOffset{
		TopicPartition: ropewalk.TopicPartition{Topic: "orders"}, Offset: 5,
	})
	if err != nil {
		t.Fatal(err)
	}
	look := startWith(t, []string{"lag-monitor", "-once", "-warn", "7"}, server(broker))
	look.succeed(t)
	lines := look.rest()
	if len(lines) != 2 ||
		strings.Join(strings.Fields(lines[1]), " ") != "billing empty 0 orders 0 5 12 7" {
		t.Errorf("it said %q", lines)
	}
	late := startWith(t, []string{"lag-monitor", "-once", "-warn", "6"}, server(broker))
	if err := late.wait(); err == nil || !strings.Contains(err.Error(), "billing by 7 records") {
		t.Errorf("it ended with %v", err)
	}
	again := startWith(t, []string{"lag-monitor", "-every", "10ms"}, server(broker))
	for range 4 {
		again.line(t, patience)
	}
	again.interrupt(t)
}

// How far a group is behind at a partition that nobody leads is not known: that is no lag of 0. What
// is known is shown all the same.
func TestLagMonitorInAnOutage(t *testing.T) {
	brokers := ropewalktest.StartCluster(t)
	client := connect(t, brokers[0])
	// Without other replicas, whatever the broker leads that ends is led by nobody.
	_, err := client.Admin().CreateTopic(limited(t), "orders", 3, ropewalk.ReplicationFactor(1))
	if err != nil {
		t.Fatal(err)
	}
	var offsets []ropewalk.CommittedOffset
	for partition := range int32(3) {
		tp := ropewalk.TopicPartition{Topic: "orders", Partition: partition}
		offsets = append(offsets, ropewalk.CommittedOffset{TopicPartition: tp})
	}
	if err := client.Admin().CommitOffset(limited(t), "billing", offsets...); err != nil {
		t.Fatal(err)
	}
	look := func() ([]string, error) {
		program := startWith(t, []string{"lag-monitor", "-once"}, server(brokers[0]))
		return program.rest(), program.wait()
	}
	if lines, err := look(); err != nil || len(lines) != 4 {
		t.Fatalf("it said %q, %v", lines, err)
	}
	brokers[2].Kill()
	for ctx := limited(t); ; {
		lines, err := look()
		if err != nil && strings.Contains(err.Error(), "which nobody leads") && len(lines) == 4 {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("it said %q, %v", lines, err)
		}
	}
}

// Topics become as they are wanted, from nothing, and from something else.
func TestBootstrap(t *testing.T) {
	broker := ropewalktest.Start(t)
	client := connect(t, broker)
	if _, err := client.Admin().CreateTopic(limited(t), "clicks", 2); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"clicks is changed, customers is created",
		"clicks is as it is to be, customers is as it is to be",
	} {
		program := start(t, "bootstrap", server(broker))
		program.succeed(t)
		if lines := strings.Join(program.rest(), ", "); lines != want {
			t.Errorf("it said %q", lines)
		}
	}
	clicks, _, err := client.Admin().GetTopic(limited(t), "clicks")
	if err != nil || clicks.Partitions != 6 || clicks.Settings.Retention != 24*time.Hour {
		t.Errorf("%+v, %v", clicks, err)
	}
}
