// Lag-monitor prints how far consumer groups are behind, again and again.
//
//	go run ./examples/lag-monitor -every 10s -warn 1000
//
// With -once it prints once, and ends with status 1 where a group is behind by more than -warn.
// ROPEWALK_SERVER names the broker; default localhost:9092.
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

// errBehind ends the program where it is to look once.
var errBehind = errors.New("a group is too far behind")

// look prints the groups whose name begins with a prefix. It fails where one is too far behind.
func look(ctx context.Context, admin *ropewalk.Admin, prefix string, warn int64) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "GROUP\tSTATE\tMEMBERS\tTOPIC\tPARTITION\tCOMMITTED\tEND\tLAG")
	var behind error
	for summary, err := range admin.Groups(ctx, prefix) {
		if err != nil {
			return err
		}
		group, err := admin.GetGroup(ctx, summary.Name)
		if errors.Is(err, ropewalk.ReasonGroupNotFound) {
			continue // it was deleted since
		}
		if err != nil {
			return err
		}
		lag := int64(0)
		for _, o := range group.Offsets {
			fmt.Fprintf(out, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\n", group.Name, group.State,
				len(group.Members), o.Topic, o.Partition,
				known(o.Committed), known(o.HighWatermark), known(o.Lag))
			lag += max(o.Lag, 0)
		}
		if lag > warn {
			behind = errors.Join(behind, fmt.Errorf("%w: %s by %d records", errBehind, group.Name, lag))
		}
	}
	return errors.Join(out.Flush(), behind)
}

// known shows -1, which stands for what there is not.
func known(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func main() {
	prefix := flag.String("prefix", "", "what the names of the groups begin with")
	every := flag.Duration("every", 10*time.Second, "how often to look")
	warn := flag.Int64("warn", 1000, "how many records a group may be behind")
	once := flag.Bool("once", false, "look once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := ropewalk.Dial(ctx, []string{cmp.Or(os.Getenv("ROPEWALK_SERVER"), "localhost:9092")})
	if err != nil {
		log.Fatal(err)
	}
	for {
		err := look(ctx, client.Admin(), *prefix, *warn)
		if err != nil && *once {
			log.Fatal(err)
		}
		if err != nil && ctx.Err() == nil {
			log.Println(err) // the next look may do
		}
		if *once {
			break
		}
		select {
		case <-time.After(*every):
			continue
		case <-ctx.Done():
		}
		break
	}
	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
}
