// Lag-monitor prints how far consumer groups are behind, again and again.
//
//	go run ./examples/lag-monitor -every 10s -warn 1000
//
// With -once it prints once, and ends with status 1 where a group is behind by more than -warn, and
// where that cannot be known: of a partition that nobody leads, and of a group that cannot be asked
// for. What can be known is printed all the same. ROPEWALK_SERVER names the broker; default
// localhost:9092.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

var (
	errBehind  = errors.New("a group is too far behind")
	errUnknown = errors.New("how far a group is behind is not known")
)

// look prints the groups whose name begins with a prefix. It fails where one is too far behind, or
// may be, and looks at the others all the same.
func look(ctx context.Context, admin *ropewalk.Admin, prefix string, warn int64) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "GROUP\tSTATE\tMEMBERS\tTOPIC\tPARTITION\tCOMMITTED\tEND\tLAG")
	var wrong error
	for summary, err := range admin.Groups(ctx, prefix) {
		if err != nil {
			wrong = errors.Join(wrong, err)
			break // which others there are is not known
		}
		group, err := admin.GetGroup(ctx, summary.Name)
		if errors.Is(err, ropewalk.ReasonGroupNotFound) {
			continue // it was deleted since
		}
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%w: %s: %w", errUnknown, summary.Name, err))
			continue
		}
		lag := int64(0)
		for _, o := range group.Offsets {
			fmt.Fprintf(out, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\n", group.Name, group.State,
				len(group.Members), o.Topic, o.Partition,
				known(o.Committed), known(o.HighWatermark), known(o.Lag))
			if o.Lag < 0 {
				wrong = errors.Join(wrong, fmt.Errorf("%w: %s at %s/%d, which nobody leads",
					errUnknown, group.Name, o.Topic, o.Partition))
			}
			lag += max(o.Lag, 0)
		}
		if lag > warn {
			wrong = errors.Join(wrong, fmt.Errorf("%w: %s by %d records", errBehind, group.Name, lag))
		}
	}
	return errors.Join(out.Flush(), wrong)
}

// known shows -1, which stands for what there is not.
func known(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// monitor looks until the context ends, or once.
func monitor(
	ctx context.Context, prefix string, every time.Duration, warn int64, once bool,
) (err error) {
	server := cmp.Or(os.Getenv("ROPEWALK_SERVER"), "localhost:9092")
	client, err := ropewalk.Dial(ctx, []string{server})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	for {
		err := look(ctx, client.Admin(), prefix, warn)
		if once {
			return err
		}
		if err != nil && ctx.Err() == nil {
			log.Println(err) // the next look may do
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return nil
		}
	}
}

func main() {
	prefix := flag.String("prefix", "", "what the names of the groups begin with")
	every := flag.Duration("every", 10*time.Second, "how often to look")
	warn := flag.Int64("warn", 1000, "how many records a group may be behind")
	once := flag.Bool("once", false, "look once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := monitor(ctx, *prefix, *every, *warn, *once); err != nil {
		log.Fatal(err)
	}
}
