package tier_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"weir/l7/tier"
)

// Processes of TestManyWebSockets: the client is the one that go test starts.
const (
	partEnv   = "WEIR_TEST_PART"
	originEnv = "WEIR_TEST_ORIGIN"
)

// anyNumber lifts the limit of 1,024 that a backend has by default.
const anyNumber = `
pools:
- {name: a, http: {connections: {max: 0}}, backends: [{address: "127.0.0.1:1"}]}
`

// mostSockets are how many WebSockets are to be open at once.
const mostSockets = 10_000

// TestManyWebSockets has client, tier and origin in processes of their own, as
// each descriptor of a process counts against its limit: the tier needs two for
// each WebSocket. In a virtual machine, or at length, there are 10,000, or as
// many as the limit lets be.
func TestManyWebSockets(t *testing.T) {
	switch os.Getenv(partEnv) {
	case "origin":
		playOrigin(t)
		return
	case "tier":
		r := start(t, anyNumber+web+"{name: all, pool: a}]}\n",
			map[string][]tier.Backend{"a": {up(netip.MustParseAddrPort(os.Getenv(originEnv)))}})
		announce(r.addr)
		return
	}
	count := socketsAllowed(t)
	_, origin := startPart(t, "origin", "")
	pid, addr := startPart(t, "tier", origin)
	before := resident(t, pid)
	sockets := make([]*socket, count)
	t.Cleanup(func() {
		for _, s := range sockets {
			if s != nil {
				s.Close()
			}
		}
	})
	eachOf(t, count, func(i int) (err error) {
		sockets[i], err = dialSocket(addr)
		return err
	})
	for round := range 3 {
		eachOf(t, count, func(i int) error { return sockets[i].echo(fmt.Sprintf("round %d of socket %d", round, i)) })
	}
	grown := (resident(t, pid) - before) / count
	t.Logf("%d WebSockets at once, %d KiB of the tier's process each", count, grown)
	if count > 1000 && grown > mostOfSocket { // of fewer, what the process takes for itself shows
		t.Errorf("%d KiB for each socket", grown)
	}
}

// mostOfSocket is how much of the tier's process each socket may take, KiB.
const mostOfSocket = 64

// socketsAllowed raises the limit of descriptors, which processes to come
// inherit, as far as it goes.
func socketsAllowed(t *testing.T) int {
	t.Helper()
	count := 300
	if long() || os.Getenv("WEIR_VM_GUEST") != "" {
		count = mostSockets
	}
	const others = 200 // descriptors that are not sockets of these
	want := uint64(2*count + others)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < want && unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: want, Max: want}) == nil {
		limit.Max = want
	}
	if limit.Max < want {
		t.Logf("no more than %d descriptors are allowed", limit.Max)
	}
	return min(count, int(limit.Max-others)/2)
}

// startPart starts this program again and waits until it listens.
func startPart(t *testing.T, part, origin string) (pid int, addr string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestManyWebSockets$")
	cmd.Env = append(os.Environ(), partEnv+"="+part, originEnv+"="+origin)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // it is killed with the test's context
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if at, ok := strings.CutPrefix(lines.Text(), listensAt); ok {
			go io.Copy(io.Discard, out)
			return cmd.Process.Pid, at
		}
	}
	t.Fatalf("%s does not listen: %v", part, lines.Err())
	return 0, ""
}

const listensAt = "listens at "

// announce tells where this part listens, and returns when the test is over.
func announce(addr string) {
	fmt.Println(listensAt + addr)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// playOrigin switches protocols and says everything again, with little memory.
func playOrigin(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go echo(c)
		}
	}()
	announce(l.Addr().String())
	l.Close()
}

func echo(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 512)
	if _, err := http.ReadRequest(in); err != nil {
		return
	}
	fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	for buf := make([]byte, 256); ; {
		n, err := in.Read(buf)
		if _, failed := c.Write(buf[:n]); err != nil || failed != nil {
			return
		}
	}
}

// eachOf does something for each socket, for several at a time.
func eachOf(t *testing.T, count int, do func(i int) error) {
	t.Helper()
	const workers = 16
	var all sync.WaitGroup
	var failed atomic.Int64
	for worker := range workers {
		all.Go(func() {
			for i := worker; i < count; i += workers {
				if err := do(i); err != nil && failed.Add(1) < 5 {
					t.Errorf("socket %d: %v", i, err)
				}
			}
		})
	}
	all.Wait()
	if n := failed.Load(); n > 0 {
		t.Fatalf("%d of %d failed", n, count)
	}
}

var residentLine = regexp.MustCompile(`(?m)^VmRSS:\s*(\d+) kB`)

// resident is memory of a process, KiB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := residentLine.FindSubmatch(text)
	if found == nil {
		t.Fatalf("no VmRSS in\n%s", text)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
