package ropewalk_test

import (
	"errors"
	"sync"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A client that is closed while something of it is being made closes that too, or has it refused.
// Most of what this can find shows with -race only.
func TestCloseBesideWhatIsBeingMade(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	if _, err := client.Admin().CreateTopic(testContext(t), "t", 1); err != nil {
		t.Fatal(err)
	}
	made := map[string]func(*ropewalk.Client) error{
		"producer": func(client *ropewalk.Client) error {
			_, err := client.NewProducer()
			return err
		},
		"consumer": func(client *ropewalk.Client) error {
			_, err := client.NewConsumer(testContext(t), ropewalk.WithTopics("t"))
			return err
		},
		"member": func(client *ropewalk.Client) error {
			_, err := client.JoinGroup(testContext(t), "g", ropewalk.GroupTopics("t"))
			return err
		},
	}
	for what, make := range made {
		t.Run(what, func(t *testing.T) {
			for range 30 {
				client := dial(t, server.Address())
				var both sync.WaitGroup
				for range 4 {
					both.Go(func() {
						if err := make(client); err != nil && !errors.Is(err, ropewalk.ReasonClosed) {
							t.Error(err)
						}
					})
				}
				both.Go(func() {
					if err := client.Close(); err != nil {
						t.Error(err)
					}
				})
				both.Wait()
			}
		})
	}
}
