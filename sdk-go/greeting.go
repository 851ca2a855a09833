package ropewalk

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// greetingTimeout bounds a connection to a broker with the question of which cluster it is in.
const greetingTimeout = 5 * time.Second

// whoAreYou asks a broker for its cluster and the addresses in it.
func whoAreYou() *pb.GetClusterRequest { return &pb.GetClusterRequest{WithoutSurvey: true} }

// greet makes sure that what answers belongs to the cluster: its address may mean something else
// where this client runs.
func (b *brokers) greet(ctx context.Context, conn grpc.ClientConnInterface) error {
	b.mu.Lock()
	cluster := b.cluster
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, greetingTimeout)
	defer cancel()
	answer, err := pb.NewAdminServiceClient(conn).GetCluster(ctx, whoAreYou())
	if err != nil {
		return err
	}
	if answer.GetClusterId() != cluster {
		return errors.New("a broker of another cluster answers there")
	}
	return nil
}

// learnedAddress marks an address that the cluster told, among those that are tried when the connection
// to whichever broker answers is lost.
type learnedAddress struct{}

// dialedAddress is under which each of these addresses says what it is, HOST:PORT.
type dialedAddress struct{}

// An addressed connection knows at which of these addresses it was made, beside how it is secured.
// The IP at its other end would not tell: a name has several, and a proxy has its own.
type addressed struct {
	credentials.AuthInfo
	address string
}

// GetCommonAuthInfo tells how the connection is secured, which gRPC asks for the sake of
// credentials that calls bring along.
func (a addressed) GetCommonAuthInfo() credentials.CommonAuthInfo {
	secured, ok := a.AuthInfo.(interface {
		GetCommonAuthInfo() credentials.CommonAuthInfo
	})
	if !ok {
		return credentials.CommonAuthInfo{}
	}
	return secured.GetCommonAuthInfo()
}

// addressAt is the address of the broker at the other end of a call; empty where that is not known.
func addressAt(p *peer.Peer) string {
	if p == nil {
		return ""
	}
	known, _ := p.AuthInfo.(addressed)
	return known.address
}

// addressUnder is that of a stream from which something was received: before, it could still be
// opened at another broker.
func addressUnder(stream grpc.ClientStream) string {
	p, _ := peer.FromContext(stream.Context())
	return addressAt(p)
}

// greeter gives the credentials of that connection. They let it be used only when what answers at a
// learned address has been asked, over a connection of its own, which cluster it is in: calls would
// otherwise go to a stranger.
func (b *brokers) greeter() credentials.TransportCredentials {
	return greeter{b.client.credentials(), b}
}

type greeter struct {
	credentials.TransportCredentials
	brokers *brokers
}

// ClientHandshake asks before it shakes hands.
func (g greeter) ClientHandshake(
	ctx context.Context, authority string, conn net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	attributes := credentials.ClientHandshakeInfoFromContext(ctx).Attributes
	if address, ok := attributes.Value(learnedAddress{}).(string); ok {
		if err := g.brokers.check(ctx, address); err != nil {
			return nil, nil, err
		}
	}
	conn, info, err := g.TransportCredentials.ClientHandshake(ctx, authority, conn)
	if err != nil {
		return nil, nil, err
	}
	address, _ := attributes.Value(dialedAddress{}).(string)
	return conn, addressed{info, address}, nil
}

// Clone returns credentials that greet as these do.
func (g greeter) Clone() credentials.TransportCredentials {
	return greeter{g.TransportCredentials.Clone(), g.brokers}
}

func (b *brokers) check(ctx context.Context, address string) error {
	conn, err := grpc.NewClient("passthrough:///"+address, b.client.dialOptions()...)
	if err != nil {
		return err
	}
	defer conn.Close()
	return b.greet(ctx, conn)
}
