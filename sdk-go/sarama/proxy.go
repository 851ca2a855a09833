package sarama

import "net"

// ProxyDialer makes connections in the program's own way. It has the method of the Dialer of
// golang.org/x/net/proxy, whose values are ProxyDialers.
type ProxyDialer interface {
	// Dial connects to an address, HOST:PORT, over a network, tcp. A ProxyDialer that also has
	// DialContext of golang.org/x/net/proxy's ContextDialer is called by that.
	Dial(network, addr string) (net.Conn, error)
}
