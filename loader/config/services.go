package config

import (
	"weir/loader/lb"
)

// serviceReader checks services against each other and against the pools.
type serviceReader struct {
	r        *report
	pools    map[string]*members
	allNamed bool // every pool has a usable name
	names    uniqueNames
	vips     map[lb.VIP]*path
	acls     *aclReader
}

func services(r *report, listed []service, pools []lb.Pool, acls *aclReader) []lb.Service {
	s := &serviceReader{r: r, acls: acls, names: uniqueNames{}, vips: map[lb.VIP]*path{}}
	s.pools = make(map[string]*members, len(pools))
	s.allNamed = !r.faulty["pools"]
	for i, p := range pools {
		s.allNamed = s.allNamed && !r.known(top.key("pools").item(i).key("name"))
		if _, twice := s.pools[p.Name]; !twice {
			s.pools[p.Name] = newMembers(top.key("pools").item(i).key("backends"), p.Backends)
		}
	}
	out := make([]lb.Service, 0, len(listed))
	for i, raw := range listed {
		out = append(out, s.read(top.key("services").item(i), raw))
	}
	return out
}

func (s *serviceReader) read(p *path, raw service) lb.Service {
	s.names.check(s.r, p, raw.Name)
	out := lb.Service{Name: raw.Name, Pool: raw.Pool}
	out.VIP = s.vip(p.key("vip"), raw.VIP)
	out.Forward = s.forward(p.key("forward"), raw.Forward)
	out.ACL = s.acls.read(p.key("acl"), raw.ACL)
	readFlowLimits(s.r, p, raw, &out)
	out.MSS = readMSS(s.r, p.key("mss"), raw.MSS, out)
	if out.Forward == 0 {
		return out // what its pool must be is unknown
	}
	if m := s.members(p.key("pool"), out); m != nil && out.VIP.Addr.IsValid() {
		checkMembers(s.r, p.key("pool"), out, m)
	}
	return out
}

func (s *serviceReader) vip(p *path, text string) lb.VIP {
	if text == "" {
		s.r.missing(p, "ADDRESS:PORT/PROTO, such as 192.0.2.1:80/tcp")
		return lb.VIP{}
	}
	vip, err := lb.ParseVIP(text)
	if err != nil {
		s.r.field(p, "%s; write it like 192.0.2.1:80/tcp or [2001:db8::1]:*/udp", err)
		return lb.VIP{}
	}
	if other := s.vips[vip]; other != nil {
		s.r.field(p, "%s is already the VIP of %s", vip, other)
		return vip
	}
	s.vips[vip] = p.parent
	return vip
}

func (s *serviceReader) forward(p *path, text string) lb.Forward {
	if text == "" {
		s.r.missing(p, lb.ForwardNames)
		return 0
	}
	f, err := lb.ParseForward(text)
	if err != nil {
		s.r.field(p, "%s is not %s", quote(text), lb.ForwardNames)
		return 0
	}
	return f
}

// members gives the pool of a service, or nil if it has none or a wrong one.
func (s *serviceReader) members(p *path, service lb.Service) *members {
	m, known := s.pools[service.Pool]
	switch {
	case service.Forward == lb.L7 && service.Pool != "":
		s.r.field(p, "%s must be left out: l7 hands packets to this host", quote(service.Pool))
	case service.Forward == lb.L7:
	case service.Pool == "":
		s.r.missing(p, "the name of a pool, as forward is "+service.Forward.String())
	case !known && s.allNamed:
		s.r.field(p, "there is no pool %s", quote(service.Pool))
	case known:
		return m
	}
	return nil
}
