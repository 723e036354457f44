package config

import (
	"fmt"
	"net/netip"
	"strings"

	"weir/loader/lb"
	"weir/loader/table"
)

const maxPool = 1<<16 - 1 // ENTRY_SLOT in bpf/pick.h

func pools(r *report, listed []pool) []lb.Pool {
	names := uniqueNames{}
	out := make([]lb.Pool, 0, len(listed))
	for i, raw := range listed {
		p := top.key("pools").item(i)
		names.check(r, p, raw.Name)
		out = append(out, readPool(r, p, raw))
	}
	return out
}

func readPool(r *report, p *path, raw pool) lb.Pool {
	out := lb.Pool{Name: raw.Name, Algorithm: lb.Maglev}
	if raw.Algorithm != nil && *raw.Algorithm != resourceBased {
		var err error
		if out.Algorithm, err = lb.ParseAlgorithm(*raw.Algorithm); err != nil {
			r.field(p.key("algorithm"), "%s is not %s", quote(*raw.Algorithm), algorithmNames)
		}
	}
	expandServers(r, p.key("backends"), raw.Backends)
	out.Backends = backends(r, p.key("backends"), raw.Backends, raw.HTTP != nil)
	out.QUIC = readQUIC(r, p, raw, out.Backends)
	out.Health = readHealths(r, p, raw, out.Backends)
	out.Agent = readAgents(r, p, raw, out.Backends)
	out.Law = lawReader{r, p, raw, out}.read()
	out.TableSize = tableSize(r, p, raw, out)
	if raw.HTTP != nil {
		out.HTTP = readPoolHTTP(r, p.key("http"), *raw.HTTP, out)
	}
	checkPoolSize(r, p, out)
	return out
}

// tableSize is 0 for algorithms that have none.
func tableSize(r *report, p *path, raw pool, out lb.Pool) uint32 {
	p = p.key("table_size")
	switch {
	case raw.TableSize == nil && out.Algorithm == lb.Maglev:
		return table.SizeFor(out.Backends)
	case raw.TableSize == nil:
		return 0
	case out.Algorithm != lb.Maglev && out.Algorithm != 0:
		r.field(p, "%d is for maglev only; the table of %s has the size it needs", *raw.TableSize, out.Algorithm)
		return 0
	}
	size := inRange(r, p, *raw.TableSize, 2, table.MaxSize)
	if size == 0 {
		return 0
	}
	if err := table.CheckSize(size); err != nil {
		r.field(p, "%d is not a prime such as 251, 4099, 16381, 65537, 655373 or 16777213", size)
	}
	return size
}

func checkPoolSize(r *report, p *path, pool lb.Pool) {
	n := len(pool.Backends)
	switch {
	case n == 0:
		r.missing(p.key("backends"), "a list of at least one backend")
	case pool.Algorithm == lb.Maglev && pool.TableSize > 0 && n > int(pool.TableSize):
		r.field(p.key("backends"), "%d backends are more than table_size (%d)", n, pool.TableSize)
	case n > maxPool:
		r.field(p.key("backends"), "%d backends are more than a pool can have (%d)", n, maxPool)
	}
}

// backends may be on this host if the HTTP tier uses them: it connects.
func backends(r *report, p *path, listed []backend, local bool) []lb.Backend {
	out := make([]lb.Backend, 0, len(listed))
	seen := make(map[netip.AddrPort]int, len(listed))
	for i, raw := range listed {
		b := readBackend(r, p.item(i), raw, local)
		out = append(out, b)
		if !b.Addr.IsValid() {
			continue
		}
		if j, twice := seen[b.Endpoint()]; twice {
			r.field(p.item(i).key("address"), "%s is already %s", quote(raw.Address), p.item(j))
			continue
		}
		seen[b.Endpoint()] = i
	}
	return out
}

// readBackend leaves Addr invalid if there is no usable address.
func readBackend(r *report, p *path, raw backend, local bool) lb.Backend {
	b := lb.Backend{Weight: 1}
	if raw.Weight != nil {
		b.Weight = lb.Weight(inRange(r, p.key("weight"), *raw.Weight, 0, int64(lb.MaxWeight)))
	}
	b.Limits = raw.limits(r, p)
	if raw.Address == "" && !r.known(p.key("server")) {
		r.missing(p.key("address"), "ADDRESS:PORT, or ADDRESS to keep the client's port")
		return b
	}
	if raw.Address == "" {
		return b
	}
	endpoint, err := parseEndpoint(raw.Address, local)
	if err != nil {
		key := "address"
		if raw.Server != "" {
			key = "server"
		}
		r.field(p.key(key), "%s %s", quote(raw.Address), err)
		return b
	}
	b.Addr, b.Port = endpoint.Addr(), endpoint.Port()
	return b
}

// parseEndpoint reads ADDRESS:PORT or ADDRESS, which has port 0. Its errors
// continue a sentence that begins with the value.
func parseEndpoint(s string, local bool) (netip.AddrPort, error) {
	var endpoint netip.AddrPort
	if addr, err := netip.ParseAddr(s); err == nil {
		endpoint = netip.AddrPortFrom(addr, 0)
	} else if endpoint, err = netip.ParseAddrPort(s); err != nil {
		return netip.AddrPort{}, fmt.Errorf("is not ADDRESS:PORT or ADDRESS, such as 10.0.0.11:8080 or [2001:db8::11]:8080")
	} else if endpoint.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("has port 0; leave the port out to keep the client's port")
	}
	if endpoint.Addr().IsLoopback() && endpoint.Addr() == endpoint.Addr().Unmap() && local {
		return endpoint, nil
	}
	if err := lb.CheckAddr(endpoint.Addr()); err != nil {
		return netip.AddrPort{}, fmt.Errorf("cannot be a backend: %s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	return endpoint, nil
}
