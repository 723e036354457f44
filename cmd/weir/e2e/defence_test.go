package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

// A source that is denied is dropped from its next packet on, also in a
// connection that it has, and is served again when it is allowed again; others
// notice nothing.
func TestACL(t *testing.T) {
	file := runDir + "/deny.txt"
	for _, p := range []plan{{}, {forward: lb.DSR, family: 6}, {forward: lb.L7}} {
		t.Run(p.String(), func(t *testing.T) {
			deny := func(lines string) {
				t.Helper()
				if err := os.WriteFile(file, []byte(lines), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			deny("# nobody yet\n")
			p.settings = settings{"acl": fmt.Sprintf("{deny_file: %q}", file)}
			l := start(t, p)
			bad, good := l.ClientAddrs[1], l.ClientAddrs[2]
			theirs, others := l.connect(t, bad), l.connect(t, good)
			theirs.mustAsk(t)

			deny(netip.PrefixFrom(bad, bad.BitLen()).String() + "\n")
			weir(t, "reload")
			before := metric(t, "weir_packets_total", map[string]string{"verdict": "drop", "reason": "acl"})
			theirs.mustGetNothing(t)
			others.mustAsk(t)
			dropped := metric(t, "weir_packets_total", map[string]string{"verdict": "drop", "reason": "acl"}) - before
			refused := metric(t, "weir_service_refused_packets_total", map[string]string{"service": service, "reason": "acl"})
			if dropped < 1 || refused < dropped {
				t.Errorf("%g packets were dropped, the service counts %g", dropped, refused)
			}
			test := weirJSON[wire.ACLTest](t, "acl", "test", bad.String())
			if len(test.Verdicts) != 1 || !test.Verdicts[0].Deny || test.Verdicts[0].Prefix.Addr() != bad {
				t.Errorf("weir acl test says %+v", test)
			}

			deny("")
			weir(t, "reload")
			l.connect(t, bad).mustAsk(t)
			others.mustAsk(t)
		})
	}
}

// A source that opens more flows than it may is refused those, and others, and
// its open connections, are served.
func TestNewFlowsPerSource(t *testing.T) {
	l := newLab(t, plan{})
	l.config.service = "new_flows_per_source: {rate: 1, burst: 5}"
	l.write(t, l.config)
	l.run(t)
	busy, other := l.ClientAddrs[1], l.ClientAddrs[2]
	first := l.connect(t, busy)
	labels := map[string]string{"service": service, "reason": "new_flows_per_source"}
	open := 0
	for ; open < 100; open++ {
		if !l.opens(busy) {
			break
		}
	}
	if n := metric(t, "weir_service_refused_packets_total", labels); n == 0 || open < 3 || open == 100 {
		t.Errorf("%d connections beside the first were opened, %g packets refused", open, n)
	}
	first.mustAsk(t)
	l.connect(t, other).mustAsk(t)
}

// talk is a connection that stays open, of which no part may fail.
type talk struct{ *connection }

func (l *lab) connect(t *testing.T, from netip.Addr) talk {
	t.Helper()
	var c *connection
	err := l.Client.Do(func() (err error) {
		c, err = dial(t.Context(), from, l.config.endpoint())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return talk{c}
}

func (c talk) mustAsk(t *testing.T) {
	t.Helper()
	if _, err := c.ask(); err != nil {
		t.Errorf("from %s: %v", c.LocalAddr(), err)
	}
}

// quiet is how long nothing may come: several times what an answer takes.
const quiet = 500 * time.Millisecond

func (c talk) mustGetNothing(t *testing.T) {
	t.Helper()
	if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: weir\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(quiet)); err != nil {
		t.Fatal(err)
	}
	if b, err := c.reader.ReadByte(); err == nil {
		t.Errorf("from %s: an answer that begins with %q", c.LocalAddr(), b)
	}
}

// opens tells whether a connection can be opened.
func (l *lab) opens(from netip.Addr) bool {
	return l.Client.Do(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), quiet)
		defer cancel()
		c, err := dial(ctx, from, l.config.endpoint())
		if err != nil {
			return err
		}
		return c.Close()
	}) == nil
}
