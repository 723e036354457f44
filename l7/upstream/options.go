// Package upstream sends requests to the backends of a pool and brings back the
// answers: connections that are kept, retries, limits, queue, and what takes
// backends out that answer badly.
package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"

	"weir/l7/balance"
	"weir/l7/exchange"
	"weir/l7/h1"
	"weir/loader/lb"
)

// Options are the settings of a Pool. Zero values mean the defaults of the
// comments; those of the lb types are as documented there, where 0 turns a
// feature off.
type Options struct {
	Name      string
	Algorithm balance.Algorithm // round_robin
	Seed      uint64            // of Maglev's table: the same on all nodes
	// Key is what Maglev picks by; nil: the address of who asks.
	Key      func(*exchange.Exchange) []byte
	Protocol lb.HTTPProtocol // h1
	TLS      *tls.Config     // nil: plain; see ClientTLS
	// ProxyProtocol is the version of the PROXY header that connections begin
	// with, 0: none. Such connections serve one request.
	ProxyProtocol int
	Connect       time.Duration // to connect, TLS included; 5 s
	Client        h1.ClientOptions
	Connections   lb.UpstreamConnections // Idle 0: 256, IdleFor 0: 60 s
	Queue         lb.Queue
	Retries       lb.Retries
	Ejection      lb.Ejection
	Sticky        *balance.Sticky // nil: off
	// Hedge is after how long a request without an answer, of those that may be
	// repeated, is sent to another backend as well, within the retries' budget;
	// 0: never.
	Hedge time.Duration
	// Dial connects to a backend; nil: over TCP.
	Dial func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
}

func (o *Options) setDefaults() {
	def(&o.Algorithm, balance.RoundRobin)
	def(&o.Protocol, lb.UpstreamH1)
	def(&o.Connect, 5*time.Second)
	def(&o.Connections.Idle, 256)
	def(&o.Connections.IdleFor, 60*time.Second)
	def(&o.Ejection.Interval, 10*time.Second)
	def(&o.Ejection.Base, 30*time.Second)
	def(&o.Ejection.Longest, 300*time.Second)
	if o.Retries.Within > 0 && (o.Client.Answer == 0 || o.Retries.Within < o.Client.Answer) {
		o.Client.Answer = o.Retries.Within
	}
	if o.Key == nil {
		o.Key = sourceKey
	}
	if o.Dial == nil {
		o.Dial = dialTCP
	}
}

func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func (o *Options) check() error {
	switch o.Protocol {
	case lb.UpstreamH1, lb.UpstreamH2C:
	case lb.UpstreamH2:
		if o.TLS == nil {
			return fmt.Errorf("pool %s: protocol h2 needs TLS; h2c is without", o.Name)
		}
	default:
		return fmt.Errorf("pool %s: unknown protocol %q", o.Name, o.Protocol)
	}
	if o.ProxyProtocol < 0 || o.ProxyProtocol > 2 {
		return fmt.Errorf("pool %s: no version %d of the PROXY protocol", o.Name, o.ProxyProtocol)
	}
	if o.ProxyProtocol > 0 && o.Protocol != lb.UpstreamH1 {
		return fmt.Errorf("pool %s: a PROXY header tells one client, %s connections have many", o.Name, o.Protocol)
	}
	_, err := balance.New(o.Algorithm, nil, o.Seed)
	if err != nil {
		return fmt.Errorf("pool %s: %w", o.Name, err)
	}
	return nil
}

func sourceKey(x *exchange.Exchange) []byte {
	addr := x.Source
	if !addr.IsValid() && x.Client != nil {
		addr = x.Client.Remote.Addr()
	}
	if !addr.IsValid() {
		return nil
	}
	room := x.Room(16)
	ip := addr.As16()
	return append(room, ip[:]...)
}

func dialTCP(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr.String())
}
