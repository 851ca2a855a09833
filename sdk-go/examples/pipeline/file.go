package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// line is a record as it is written. Bytes are in base64, as JSON has none, and null where there
// are none: a record without a value is not one with an empty value.
type line struct {
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time"`
	Key       []byte    `json:"key"`
	Value     []byte    `json:"value"`
	Headers   []header  `json:"headers,omitempty"`
}

type header struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// file has records of one partition, in order. It is not under its name until it is ended.
type file struct {
	name   string
	open   *os.File
	buffer *bufio.Writer
	lines  int
	until  time.Time // when it is old
	// first is where it begins, and next where the one after it does.
	first, next ropewalk.CommittedOffset
}

// create begins a file with a record, which is not written yet.
func create(dir string, r *ropewalk.Record, until time.Time) (*file, error) {
	f := &file{name: fmt.Sprintf("%s-%d-%020d.ndjson", r.Topic, r.Partition, r.Offset), until: until}
	f.first = r.ToCommit() // of now: it is refused once another member has had the partition
	f.first.Offset, f.next = r.Offset, f.first
	var err error
	// No other member has an open file of this name, also if it takes the partition for its own.
	if f.open, err = os.CreateTemp(dir, f.name+".*.part"); err != nil {
		return nil, err
	}
	f.buffer = bufio.NewWriter(f.open)
	return f, nil
}

func (f *file) write(records []ropewalk.Record) error {
	encoder := json.NewEncoder(f.buffer)
	for i := range records {
		r := &records[i]
		l := line{Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			l.Headers = append(l.Headers, header(h))
		}
		if err := encoder.Encode(l); err != nil {
			return err
		}
		f.next = r.ToCommit()
	}
	f.lines += len(records)
	return nil
}

// end has the file be there to stay, under its name. One with that name was not committed: all that
// is in it has come again.
func (f *file) end(dir string) error {
	if err := errors.Join(f.buffer.Flush(), f.open.Sync()); err != nil {
		return err
	}
	if err := os.Rename(f.open.Name(), filepath.Join(dir, f.name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close()) // the name is as durable as what is in it
}

// drop closes the file, and removes it if it was not ended.
func (f *file) drop() {
	_ = f.open.Close()
	_ = os.Remove(f.open.Name()) // there is none of that name, if it was
}
