package lb

import (
	"errors"
	"net/netip"
	"time"
)

// ErrBusy means that something which only one can do at a time is under way.
var ErrBusy = errors.New("busy")

// FilterError is a filter that names what does not exist.
type FilterError struct{ What string }

func (e *FilterError) Error() string { return e.What }

// MaxSnapLen is how much of a frame a capture can show, in bytes.
const MaxSnapLen = 9216

// CaptureFilter selects packets. The zero value selects those for services,
// whole.
type CaptureFilter struct {
	VIP     *VIP           // only those of this service
	Backend netip.AddrPort // only those to or from this backend
	Reasons []string       // only those with one of these reasons
	All     bool           // also those for no service; not with the others
	SnapLen uint32         // bytes of each frame; 0: MaxSnapLen
}

// Captured is one packet as the program saw it and as it left.
type Captured struct {
	Time    time.Time      `json:"time"`
	Verdict string         `json:"verdict"` // drop, pass, tx (out where it came in), redirect
	Reason  string         `json:"reason,omitempty"`
	Service string         `json:"service,omitempty"`
	VIP     *VIP           `json:"vip,omitempty"`
	Backend netip.AddrPort `json:"backend,omitzero"`
	In      Frame          `json:"in"`
	Out     *Frame         `json:"out,omitempty"`  // nil: it did not leave, or was handed on as it was
	Lost    uint64         `json:"lost,omitempty"` // packets lost before it; with no Verdict it says only that
}

// Frame is an Ethernet frame on an interface.
type Frame struct {
	Interface string `json:"interface"`
	Length    uint32 `json:"length"` // bytes on the wire
	Data      []byte `json:"data"`   // the first of them
}
