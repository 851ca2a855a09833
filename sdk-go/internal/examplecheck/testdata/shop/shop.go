// Package shop is a package with Examples for most of its types.
package shop

type (
	Cart    struct{ Items []Item }
	Item    struct{ Price Money }
	Money   int
	Door    struct{}
	Cellar  struct{}
	EventIn struct{}
	EventUp struct{}
	inside  struct{}
)

func New() *Cart { return nil }
