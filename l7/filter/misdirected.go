package filter

import (
	"bytes"
	"net/http"

	"weir/l7/exchange"
	"weir/l7/value"
)

// Misdirected answers 421 to requests for hosts whose clients show
// certificates, on connections that were made for another host: what the client
// showed there says nothing here (RFC 9110, 15.5.20). clientsShow tells of a host
// in lower case.
func Misdirected(clientsShow func(host string) bool) Filter {
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			host := value.Hostname(x)
			if x.Client.TLS != nil && !bytes.EqualFold(host, []byte(x.Client.TLS.ServerName)) && clientsShow(string(host)) {
				x.Fail(http.StatusMisdirectedRequest, "the host is not that of SNI, and its clients show certificates")
				return
			}
			next.Serve(x)
		})
	}
}
