package health

import (
	"fmt"

	"weir/loader/lb"
)

// open makes the checker of any target.
func open(t Target, byVIP Reacher) (Checker, error) {
	if t.VIP.IsValid() {
		return vip{t, byVIP}, nil
	}
	return Open(t)
}

// Open makes the checker of a target that is probed at its own address. It fails on what no probe could be made
// of, such as a regular expression that is none.
func Open(t Target) (Checker, error) {
	if !t.Address.IsValid() || t.Address.Port() == 0 && t.Health.Type != lb.HealthExec {
		return nil, fmt.Errorf("there is no address and port to probe")
	}
	switch t.Health.Type {
	case lb.HealthTCP:
		return newTCP(t), nil
	case lb.HealthHTTP, lb.HealthHTTPS:
		return newHTTP(t)
	case lb.HealthH2, lb.HealthH2C:
		return newH2Check(t)
	case lb.HealthGRPC, lb.HealthGRPCS:
		return newGRPC(t)
	case lb.HealthUDP:
		return newUDP(t), nil
	case lb.HealthDNS:
		return newDNS(t)
	case lb.HealthTLS:
		return newTLS(t)
	case lb.HealthExec:
		return newExec(t)
	}
	return nil, fmt.Errorf("%q is no type of health check", t.Health.Type)
}

// excerpt shows bytes of any content, long ones cut short.
func excerpt(b []byte) string {
	const most = 60
	if len(b) > most {
		return fmt.Sprintf("%q...", b[:most])
	}
	return fmt.Sprintf("%q", b)
}
