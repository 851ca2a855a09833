package shop_test

import "example.org/shop"

// price is used by an Example.
func price() shop.Money { return 12 }

// unused is not.
func unused() shop.Cellar { return shop.Cellar{} }

func ExampleCart_Buy() {
	cart := shop.New()
	cart.Items = append(cart.Items, shop.Item{Price: price()})
	// Output:
}

func ExampleDoor() {
	_ = shop.Door{}
}
