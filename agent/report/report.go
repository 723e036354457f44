// Package report is what an agent says about its backend on the wire: a
// versioned JSON document over HTTPS (GET Path), and the text of HAProxy's
// agent-check. Both directions check every value, so that neither end can be
// made to believe what cannot be. Its functions keep no state and may be
// called concurrently.
package report

import (
	"crypto/x509"
	"math"
	"net/netip"
	"time"
)

const (
	// Version of the document. Another one is refused, not guessed at.
	Version = 1
	// Path of the report on the agent's HTTPS server.
	Path = "/v1/report"
	// DefaultPort of the HTTPS server.
	DefaultPort = 9707
	// ContentType of the document.
	ContentType = "application/json"
	// MaxBytes of a document.
	MaxBytes = 64 << 10
	// MaxValues of a report.
	MaxValues = 256
	// MaxValue of a metric or a rate.
	MaxValue = 1e12
)

const (
	maxText    = 256 // bytes of an identity, a reason or an error
	maxBoot    = 64  // bytes
	maxMissing = 64
	maxSpan    = 24 * time.Hour // of an age or a time constant
	maxPercent = 10_000
)

// Report is what an agent says about its backend at one moment.
type Report struct {
	Backend string        // who speaks: an IP address or a name that the agent's certificate holds
	Boot    string        // another one each time the agent starts; letters, digits and -
	Seq     uint64        // rises with each report of one boot
	Age     time.Duration // of the values when the report left, in whole milliseconds
	Tau     time.Duration // time constant of the smoothing of the values, in whole milliseconds
	Rate    float64       // traffic that the backend counted itself, per second, smoothed as the values are; 0: not known
	Values  map[string]float64
	Missing map[string]string // collectors whose values are left out, and why
	Status  Status
}

// check refuses what no agent can truthfully say.
func (r Report) check() error {
	if err := CheckIdentity(r.Backend); err != nil {
		return err
	}
	if err := checkBoot(r.Boot); err != nil {
		return err
	}
	if err := checkSpan("age_ms", r.Age); err != nil {
		return err
	}
	if err := checkSpan("tau_ms", r.Tau); err != nil {
		return err
	}
	if err := checkNumber("rate", r.Rate, MaxValue); err != nil {
		return err
	}
	if err := r.checkValues(); err != nil {
		return err
	}
	if err := r.checkMissing(); err != nil {
		return err
	}
	return r.Status.Check()
}

func (r Report) checkValues() error {
	if len(r.Values) > MaxValues {
		return refuse(TooMany, "%d values are over %d", len(r.Values), MaxValues)
	}
	for name, v := range r.Values {
		if err := CheckValue(name, v); err != nil {
			return err
		}
	}
	return nil
}

func (r Report) checkMissing() error {
	if len(r.Missing) > maxMissing {
		return refuse(TooMany, "%d missing collectors are over %d", len(r.Missing), maxMissing)
	}
	for name, why := range r.Missing {
		if !ValidMetric(name) {
			return refuse(BadName, "missing: %.70q is not a name of letters, digits and _ . : -", name)
		}
		if err := checkText("missing: "+name, why); err != nil {
			return err
		}
	}
	return nil
}

func checkBoot(boot string) error {
	if boot == "" {
		return refuse(Missing, "boot is empty")
	}
	if len(boot) > maxBoot {
		return refuse(TooLarge, "boot is %d bytes long, the most is %d", len(boot), maxBoot)
	}
	for _, c := range []byte(boot) {
		if !alphanumeric(c) && c != '-' {
			return refuse(BadName, "boot %.70q is not of letters, digits and -", boot)
		}
	}
	return nil
}

func checkSpan(name string, d time.Duration) error {
	if d < 0 {
		return refuse(Negative, "%s is %d", name, d.Milliseconds())
	}
	if d > maxSpan {
		return refuse(TooLarge, "%s is %d, the most is %d", name, d.Milliseconds(), maxSpan.Milliseconds())
	}
	return nil
}

func checkNumber(name string, v, most float64) error {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return refuse(NotFinite, "%s is %v", name, v)
	case v < 0:
		return refuse(Negative, "%s is %v", name, v)
	case v > most:
		return refuse(TooLarge, "%s is %v, the most is %v", name, v, most)
	}
	return nil
}

// checkText takes one line of printable text, which may be shown as it is.
func checkText(name, text string) error {
	if len(text) > maxText {
		return refuse(TooLarge, "%.70s is %d bytes long, the most is %d", name, len(text), maxText)
	}
	if text != Clean(text) {
		return refuse(BadText, "%.70s has characters that do not print: %.70q", name, text)
	}
	return nil
}

// CheckIdentity refuses a backend's identity that is neither an IP address
// without a zone nor a DNS name in lower case.
func CheckIdentity(identity string) error {
	if identity == "" {
		return refuse(Missing, "backend is empty")
	}
	if len(identity) > maxText {
		return refuse(TooLarge, "backend is %d bytes long, the most is %d", len(identity), maxText)
	}
	if a, err := netip.ParseAddr(identity); err == nil && a.Zone() == "" && a.String() == identity {
		return nil
	}
	if !dnsName(identity) {
		return refuse(BadName, "backend %.70q is neither an IP address in its usual form nor a DNS name in lower case", identity)
	}
	return nil
}

// SpeaksFor reports whether a certificate's alternative names hold an
// identity: an agent with this certificate may speak for this backend, and for
// no other. Wildcards count for nothing here.
func SpeaksFor(cert *x509.Certificate, identity string) bool {
	if a, err := netip.ParseAddr(identity); err == nil {
		for _, ip := range cert.IPAddresses {
			if held, ok := netip.AddrFromSlice(ip); ok && held.Unmap() == a.Unmap() {
				return true
			}
		}
		return false
	}
	for _, name := range cert.DNSNames {
		if name == identity && dnsName(name) {
			return true
		}
	}
	return false
}

// CheckValue refuses what a metric of a report cannot be.
func CheckValue(name string, v float64) error {
	if !ValidMetric(name) {
		return refuse(BadName, "metric %.70q is not a name of letters, digits and _ . : -", name)
	}
	return checkNumber(name, v, most(name))
}
