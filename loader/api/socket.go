package api

import (
	"fmt"
	"net"

	"weir/loader/unixsocket"
)

// Listen makes the admin socket at path, as unixsocket.Listen does.
func Listen(path string) (net.Listener, error) {
	l, err := unixsocket.Listen(path)
	if err != nil {
		return nil, fmt.Errorf("admin socket %w", err)
	}
	return l, nil
}
