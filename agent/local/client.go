package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"weir/agent/state"
)

// Client steers the agent at a socket. It may be used concurrently.
type Client struct {
	socket string
	http   *http.Client
}

// New makes a client; nothing is connected yet.
func New(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: timeout}).DialContext(ctx, "unix", socket)
	}
	return &Client{socket, &http.Client{Timeout: 2 * timeout, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// NoAgentError says that nobody answers on the socket.
type NoAgentError struct {
	Socket string
	Err    error
}

func (e *NoAgentError) Error() string { return "no agent answers on " + e.Socket }
func (e *NoAgentError) Unwrap() error { return e.Err }

// Status asks how the agent is.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.do(ctx, http.MethodGet, statusPath, nil, &s)
}

// Order changes the agent's state, and returns the one then in force.
func (c *Client) Order(ctx context.Context, o Order) (s state.State, err error) {
	body, err := json.Marshal(o)
	if err != nil {
		return s, err
	}
	return s, c.do(ctx, http.MethodPost, statePath, body, &s)
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, into any) error {
	q, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.http.Do(q)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return &NoAgentError{c.socket, err}
	}
	if err != nil {
		return fmt.Errorf("agent at %s: %w", c.socket, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("agent at %s: %w", c.socket, err)
	}
	if response.StatusCode != http.StatusOK {
		var f fault
		if json.Unmarshal(text, &f) != nil || f.Error == "" {
			f.Error = response.Status
		}
		return errors.New(f.Error)
	}
	return json.Unmarshal(text, into)
}
