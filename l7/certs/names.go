package certs

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
)

// names finds certificates by the host that a client asks for.
type names struct {
	exact map[string][]*watched
	wild  map[string][]*watched // by what follows the *: ".example.org"
	all   []*watched
}

func newNames(files []*watched) names {
	n := names{exact: map[string][]*watched{}, wild: map[string][]*watched{}, all: files}
	for _, w := range files {
		for _, host := range hostsOf(w.certificate.Load().Leaf) {
			host = strings.ToLower(host)
			if rest, isWild := strings.CutPrefix(host, "*"); isWild {
				n.wild[rest] = append(n.wild[rest], w)
			} else {
				n.exact[host] = append(n.exact[host], w)
			}
		}
	}
	for _, same := range []map[string][]*watched{n.exact, n.wild} {
		for _, all := range same {
			slices.SortStableFunc(all, cheaperFirst)
		}
	}
	return n
}

// cheaperFirst puts ECDSA and Ed25519 before RSA, whose signatures cost ten times
// as much.
func cheaperFirst(a, b *watched) int {
	cost := func(w *watched) int {
		if w.certificate.Load().Leaf.PublicKeyAlgorithm == x509.RSA {
			return 1
		}
		return 0
	}
	return cost(a) - cost(b)
}

// find is the certificate for a client's host, or nil. A wildcard stands for
// one label (RFC 6125, 6.4.3).
func (n names) find(hello *tls.ClientHelloInfo) *tls.Certificate {
	host := hostAsked(hello)
	if host == "" {
		return nil
	}
	if c := supported(n.exact[host], hello); c != nil {
		return c
	}
	if dot := strings.IndexByte(host, '.'); dot > 0 {
		return supported(n.wild[host[dot:]], hello)
	}
	return nil
}

// hostAsked is what SNI says or, as addresses are not sent by SNI (RFC 6066,
// 3), the address that the client came to.
func hostAsked(hello *tls.ClientHelloInfo) string {
	if hello.ServerName != "" {
		return strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	}
	if hello.Conn == nil {
		return ""
	}
	to, err := netip.ParseAddrPort(hello.Conn.LocalAddr().String())
	if err != nil {
		return ""
	}
	return to.Addr().Unmap().String()
}

// first is what clients get that name no known host.
func (n names) first(hello *tls.ClientHelloInfo) *tls.Certificate { return supported(n.all, hello) }

// supported is the first that the client can verify the signature of, else
// the first.
func supported(all []*watched, hello *tls.ClientHelloInfo) *tls.Certificate {
	if len(all) == 0 {
		return nil
	}
	for _, w := range all {
		c := w.certificate.Load()
		if hello.SupportsCertificate(c) == nil {
			return c
		}
	}
	return all[0].certificate.Load()
}
