package carry

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"errors"

	"weir/loader/netlab"
)

// clients are the addresses of one host that ask the VIP.
type clients struct {
	ns      *netlab.NS
	sources []netip.Addr
	vip     netip.Addr
	size    int // of datagrams, bytes; 0 stands for a few
}

// requestTimeout bounds one request: long enough for what the network loses to
// be sent again several times, so that only what never comes has failed.
const requestTimeout = 60 * time.Second

// noise is n bytes that differ from those of another seed everywhere.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	binary.NativeEndian.PutUint64(key[:], seed)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(data)
	return data
}

// request sends size bytes on a connection of its own, and checks that the
// server has got them and that they come back. It returns who answered.
func (c clients) request(seed uint64, size int) (who string, err error) {
	source := net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.sources[seed%uint64(len(c.sources))], 0))
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = c.ns.Do(func() error {
			conn, err = (&net.Dialer{LocalAddr: source}).DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}}
	hc := http.Client{Transport: transport, Timeout: requestTimeout}
	sent := noise(seed, size)
	resp, err := hc.Post("http://"+netip.AddrPortFrom(c.vip, httpPort).String()+"/", "application/octet-stream", bytes.NewReader(sent))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "", fmt.Errorf("reading the answer: %w", err)
	case resp.StatusCode != http.StatusOK:
		return "", fmt.Errorf("status %s", resp.Status)
	case resp.Header.Get(sumHeader) != sum(sent):
		return "", fmt.Errorf("the server got other bytes than the %d sent", size)
	case sum(got) != sum(sent):
		return "", fmt.Errorf("%d other bytes came back than the %d sent", len(got), size)
	}
	return resp.Header.Get(whoHeader), nil
}

// requests makes so many of a size, several at once. None may fail.
func (c clients) requests(t *testing.T, number, size int) {
	t.Helper()
	began := time.Now()
	c.each(t, number, func(i int) error {
		if _, err := c.request(uint64(i), size); err != nil {
			return fmt.Errorf("request %d of %d bytes: %w", i, size, err)
		}
		return nil
	})
	t.Logf("%d requests of %d bytes in %s", number, size, time.Since(began).Round(time.Millisecond))
}

const atOnce = 8

// each does a number of things, several at once, until one fails.
func (c clients) each(t *testing.T, number int, do func(i int) error) {
	t.Helper()
	next := make(chan int)
	failures := make(chan error, number)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					failures <- err
				}
			}
		})
	}
	for i := 0; i < number && len(failures) == 0; i++ {
		next <- i
	}
	close(next)
	workers.Wait()
	if n := len(failures); n > 0 {
		t.Fatalf("%d of up to %d failed, the first: %v", n, number, <-failures)
	}
}

// How long a datagram's answer is awaited before the datagram is sent again.
const datagramPatience = time.Second

// datagrams sends perPort datagrams from each of so many ports. Each must be
// answered by the VIP, and all of a port by the same server. What is not
// answered is sent up to tries times.
func (c clients) datagrams(t *testing.T, ports, perPort, tries int) {
	t.Helper()
	began := time.Now()
	c.each(t, ports, func(i int) error { return c.exchange(i, perPort, tries) })
	t.Logf("%d datagrams from each of %d ports in %s", perPort, ports, time.Since(began).Round(time.Millisecond))
}

func (c clients) exchange(port, number, tries int) error {
	conn, err := listenUDP(c.ns, netip.AddrPortFrom(c.sources[port%len(c.sources)], 0))
	if err != nil {
		return err
	}
	defer conn.Close()
	first := ""
	for i := range number {
		who, err := c.askUDP(conn, fmt.Sprintf("%-*d", max(c.size, 64), i), tries)
		if err != nil {
			return fmt.Errorf("datagram %d from %s: %w", i, conn.LocalAddr(), err)
		}
		if first != "" && who != first {
			return fmt.Errorf("datagram %d from %s was answered by %s, the first by %s", i, conn.LocalAddr(), who, first)
		}
		first = who
	}
	return nil
}

// askUDP returns what the answer has after the datagram.
func (c clients) askUDP(conn *net.UDPConn, datagram string, tries int) (string, error) {
	var err error
	for range tries {
		if _, err = conn.WriteToUDPAddrPort([]byte(datagram), netip.AddrPortFrom(c.vip, echoPort)); err != nil {
			return "", err
		}
		var who string
		if who, err = c.answer(conn, datagram); !errors.Is(err, os.ErrDeadlineExceeded) {
			return who, err
		}
	}
	return "", fmt.Errorf("sent %d times: %w", tries, err)
}

// answer reads until the datagram comes back; late answers to those before are
// left out.
func (c clients) answer(conn *net.UDPConn, datagram string) (string, error) {
	if err := conn.SetReadDeadline(time.Now().Add(datagramPatience)); err != nil {
		return "", err
	}
	for buf := make([]byte, 1<<16); ; {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return "", err
		}
		if from.Addr().Unmap() != c.vip || from.Port() != echoPort {
			return "", fmt.Errorf("an answer came from %s", from)
		}
		if who, ok := strings.CutPrefix(string(buf[:n]), datagram); ok {
			return who, nil
		}
	}
}

// warmUp makes requests until each server has answered: neighbours are found,
// backends are in the table.
func (l *lab) warmUp(t *testing.T) {
	t.Helper()
	silent := map[string]bool{}
	for _, s := range l.servers {
		silent[s.name] = true
	}
	var last error
	for i, late := uint64(0), time.Now().Add(readyWithin); len(silent) > 0; i++ {
		who, err := l.clients.request(i, 0)
		delete(silent, who)
		if last = errors.Join(err); time.Now().After(late) {
			t.Fatalf("no answer from %v: %v", silent, last)
		}
	}
}
