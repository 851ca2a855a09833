package ropewalk

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// A fakeLine stands for one connection of a connSet: it counts what is open on it.
type fakeLine struct {
	fakeConn
	open, closed atomic.Int32
	lost         atomic.Bool
	// refuses has no stream opened, and the greeting fail.
	refuses error
	// hangs has the greeting take as long as its context.
	hangs bool
	// connects, where it is set, is closed once there is a connection: streams wait for it.
	connects chan struct{}
}

func (f *fakeLine) GetState() connectivity.State {
	if f.lost.Load() {
		return connectivity.Idle
	}
	return connectivity.Ready
}

func (f *fakeLine) Close() error {
	f.closed.Add(1)
	return nil
}

func (f *fakeLine) Invoke(
	ctx context.Context, method string, request, answer any, options ...grpc.CallOption,
) error {
	if f.hangs {
		<-ctx.Done()
	}
	if f.refuses != nil {
		return f.refuses
	}
	return f.fakeConn.Invoke(ctx, method, request, answer, options...)
}

// NewStream opens a stream that lasts as long as its context.
func (f *fakeLine) NewStream(
	ctx context.Context, _ *grpc.StreamDesc, _ string, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	finish := func() {
		for _, option := range options {
			if o, ok := option.(grpc.OnFinishCallOption); ok {
				o.OnFinish(f.refuses)
			}
		}
	}
	if f.refuses != nil {
		finish()
		return nil, f.refuses
	}
	if f.connects != nil {
		select {
		case <-f.connects:
		case <-ctx.Done():
			finish()
			return nil, ctx.Err()
		}
	}
	f.open.Add(1)
	context.AfterFunc(ctx, func() {
		f.open.Add(-1)
		finish()
	})
	return nil, nil
}

// A fakeSet is a connSet with its connections, each of which takes some calls at a time.
type fakeSet struct {
	*connSet
	t  *testing.T
	mu sync.Mutex
	// lines are those that were made; the next one is made by dials.
	lines []*fakeLine
	dials func() (*fakeLine, error)
}

// line is one of those that were made; one without streams where it was not made yet.
func (f *fakeSet) line(i int) *fakeLine {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i >= len(f.lines) {
		return &fakeLine{}
	}
	return f.lines[i]
}

func newFakeSet(t *testing.T, calls uint32) *fakeSet {
	f := &fakeSet{t: t, dials: func() (*fakeLine, error) { return &fakeLine{}, nil }}
	var err error
	client := newFakeClient(t, &fakeConn{})
	f.connSet, err = newConnSet(client, func(limit *callLimit) (clientConn, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		made, err := f.dials()
		if err != nil {
			return nil, err
		}
		limit.tell(calls)
		f.lines = append(f.lines, made)
		return made, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// stream opens a stream, and gives what ends it.
func (f *fakeSet) stream() (end func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	f.t.Cleanup(cancel)
	_, err = f.NewStream(ctx, &grpc.StreamDesc{}, "/a/stream")
	return cancel, err
}

func (f *fakeSet) streams(count int) (ends []func()) {
	f.t.Helper()
	for range count {
		end, err := f.stream()
		if err != nil {
			f.t.Fatal(err)
		}
		ends = append(ends, end)
	}
	return ends
}

// expect waits until there are so many streams on each connection that was made; -1: it is closed.
func (f *fakeSet) expect(want ...int) {
	f.t.Helper()
	var got []int
	for range 2000 {
		f.mu.Lock()
		got = nil
		for _, l := range f.lines {
			if got = append(got, int(l.open.Load())); l.closed.Load() > 0 {
				got[len(got)-1] = -1
			}
		}
		f.mu.Unlock()
		if len(got) == len(want) {
			equal := true
			for i := range got {
				equal = equal && got[i] == want[i]
			}
			if equal {
				return
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	f.t.Fatalf("streams by connection: %v, want %v", got, want)
}

// left waits until so many streams are counted.
func (f *fakeSet) left(want int) {
	f.t.Helper()
	for range 2000 {
		f.connSet.mu.Lock()
		count := f.first.streams
		for _, l := range f.further {
			count += l.streams
		}
		f.connSet.mu.Unlock()
		if count == want {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	f.t.Fatalf("there are never %d streams", want)
}

// The first connection takes streams up to half of its calls, and so does each further one. What
// ends makes room, and the first room is used.
func TestStreamsAreSpreadOverConnections(t *testing.T) {
	f := newFakeSet(t, 8)
	ends := f.streams(4)
	f.expect(4)
	ends = append(ends, f.streams(6)...)
	f.expect(4, 4, 2)
	ends[0]()
	ends[5]()
	f.left(8)
	f.expect(3, 3, 2)
	f.streams(3)
	f.expect(4, 4, 3)
	if f.lines[0].closed.Load() > 0 {
		t.Error("the first connection was closed")
	}
}

// However few calls a connection takes, a further one takes a stream, and the first one a call.
func TestConnectionsWithoutRoom(t *testing.T) {
	f := newFakeSet(t, 1)
	f.streams(2)
	f.expect(0, 1, 1)
}

// Streams that wait for a connection which takes fewer of them than the one before go elsewhere.
func TestStreamsKeepToWhatTheNextConnectionTakes(t *testing.T) {
	f := newFakeSet(t, 20)
	first := f.line(0)
	first.connects = make(chan struct{})
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := f.stream(); err != nil {
				t.Error(err)
			}
		})
	}
	f.left(10)
	f.first.limit.tell(8)
	close(first.connects)
	all.Wait()
	f.left(10)
	for range 2000 {
		if n := first.open.Load(); n <= 4 && n+f.line(1).open.Load() == 10 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d of them are on a connection that takes 4", first.open.Load())
}

// Many that come at once wait for the same connection.
func TestStreamsWaitForOneConnection(t *testing.T) {
	f := newFakeSet(t, 20)
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			if _, err := f.stream(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	f.expect(10, 10, 10, 10)
}

// A further connection is closed when it has had no stream for a while, the first one never.
func TestConnectionsWithoutStreamsAreClosed(t *testing.T) {
	f := newFakeSet(t, 4)
	// One is idle from when it is made, too: whoever it is made for has all the time to come.
	idleAfter := func(d time.Duration) {
		f.connSet.mu.Lock()
		defer f.connSet.mu.Unlock()
		f.idle = d
	}
	idleAfter(time.Hour)
	ends := f.streams(5)
	f.expect(2, 2, 1)
	idleAfter(50 * time.Millisecond)
	for _, end := range ends[:4] {
		end()
	}
	f.expect(0, -1, 1)
	ends[4]()
	f.expect(0, -1, -1)
	idleAfter(time.Hour)
	f.streams(3)
	f.expect(2, -1, -1, 1)
}

// One that is lost, or going away, gets no more streams.
func TestStreamsLeaveOutWhatIsLost(t *testing.T) {
	f := newFakeSet(t, 4)
	f.streams(3)
	f.lines[1].lost.Store(true)
	f.streams(1)
	f.expect(2, 1, 1)
}

// A stream that could not be opened takes no room.
func TestStreamsThatFailTakeNoRoom(t *testing.T) {
	f := newFakeSet(t, 2)
	f.lines[0].refuses = errors.New("not now")
	for range 5 {
		if _, err := f.stream(); !errors.Is(err, f.lines[0].refuses) {
			t.Fatal(err)
		}
	}
	f.expect(0)
}

// Where there is no further connection the stream fails, and so do those that come soon, without
// another try.
func TestNoFurtherConnection(t *testing.T) {
	for name, attempt := range map[string]func() (*fakeLine, error){
		"not made": func() (*fakeLine, error) { return nil, errors.New("no way there") },
		"not greeted": func() (*fakeLine, error) {
			return &fakeLine{refuses: errors.New("a stranger is there")}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeSet(t, 4)
			end := f.streams(2)[0]
			tries := 0
			f.mu.Lock()
			f.dials = func() (*fakeLine, error) {
				tries++
				return attempt()
			}
			f.mu.Unlock()
			for range 3 {
				_, err := f.stream()
				e := fromRPC("subscribe", err)
				if !errors.Is(e, ReasonTooMany) || !e.Retriable() || !errors.Is(e, errNoRoom) {
					t.Errorf("got %v", e)
				}
				if isAboutLeaders(e) {
					t.Error("the broker is blamed")
				}
			}
			if tries != 1 {
				t.Errorf("%d tries at once", tries)
			}
			for _, l := range f.lines[1:] {
				if l.closed.Load() != 1 {
					t.Error("what was not greeted is open")
				}
			}
			end()
			f.left(1)
			f.streams(1) // there is room on the first one again
			f.connSet.mu.Lock()
			f.again = time.Now()
			f.connSet.mu.Unlock()
			f.mu.Lock()
			f.dials = func() (*fakeLine, error) { return &fakeLine{}, nil }
			f.mu.Unlock()
			f.streams(1)
		})
	}
}

// Whoever waits for a connection gives up with its context, or at once when all of them are closed.
// A connection that comes too late is closed.
func TestWaitingForAConnectionEnds(t *testing.T) {
	for name, late := range map[string]*fakeLine{
		"it comes late":  {hangs: true},
		"it comes never": {hangs: true, refuses: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runWaiting(t, late) })
		})
	}
}

func runWaiting(t *testing.T, late *fakeLine) {
	f := newFakeSet(t, 2)
	f.streams(1)
	f.dials = func() (*fakeLine, error) { return late, nil }
	wait := func(ctx context.Context) chan error {
		ends := make(chan error, 1)
		go func() {
			_, err := f.NewStream(ctx, &grpc.StreamDesc{}, "/a/stream")
			ends <- err
		}()
		return ends
	}
	ctx, cancel := context.WithCancel(context.Background())
	givesUp, waits := wait(ctx), wait(context.Background())
	synctest.Wait()
	if len(givesUp)+len(waits) > 0 {
		t.Fatal("there is nothing to wait for")
	}
	cancel()
	synctest.Wait()
	if len(givesUp) != 1 || len(waits) > 0 {
		t.Fatalf("%d have given up, and %d of the others", len(givesUp), len(waits))
	}
	err := <-givesUp
	if !errors.Is(err, errNoRoom) || isAboutLeaders(fromRPC("subscribe", err)) {
		t.Errorf("it has given up with %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	synctest.Wait() // no time goes by
	if len(waits) != 1 {
		t.Fatal("it waits on")
	}
	if err := <-waits; !errors.Is(err, ReasonClosed) {
		t.Errorf("it has ended with %v", err)
	}
	if closed := late.closed.Load(); closed != 1 {
		t.Errorf("the connection that came too late was closed %d times", closed)
	}
}
