package config

import (
	"encoding/hex"

	"weir/loader/lb"
)

// readQUIC reads what the connection ids of a pool look like, and its
// backends' server ids.
func readQUIC(r *report, p *path, raw pool, backends []lb.Backend) lb.QUIC {
	length, out := uint8(0), lb.QUIC{}
	if raw.QUIC != nil {
		q := p.key("quic")
		length = uint8(inRange(r, q.key("server_id_length"), raw.QUIC.ServerIDLength, 1, lb.MaxServerID))
		out = quicConfigs(r, q.key("config_ids"), raw.QUIC.ConfigIDs, length)
	}
	seen := map[string]int{}
	for i, b := range raw.Backends {
		at := p.key("backends").item(i).key("server_id")
		id := serverID(r, at, b.ServerID, raw.QUIC != nil, int(length))
		if j, twice := seen[id]; twice && id != "" {
			r.field(at, "%s is already that of %s", quote(b.ServerID), p.key("backends").item(j))
		}
		seen[id] = i
		backends[i].ServerID = id
	}
	return out
}

func quicConfigs(r *report, p *path, ids []int64, length uint8) lb.QUIC {
	var out lb.QUIC
	if len(ids) == 0 {
		r.missing(p, "a list of one or more numbers from 0 to 6, such as [0]")
	}
	for i, id := range ids {
		if id < 0 || id > lb.MaxQUICConfig {
			r.field(p.item(i), "%d is not in 0..%d", id, lb.MaxQUICConfig)
			continue
		}
		out[id] = length
	}
	return out
}

// serverID gives the raw bytes, none if there is a fault.
func serverID(r *report, p *path, text string, quic bool, length int) string {
	switch {
	case !quic && text != "":
		r.field(p, "%s needs the pool's quic, which says how long server ids are", quote(text))
		return ""
	case !quic:
		return ""
	case text == "":
		r.missing(p, "the backend's server id in hexadecimal, as the pool has quic")
		return ""
	}
	id, err := hex.DecodeString(text)
	if err != nil || length > 0 && len(id) != length {
		r.field(p, "%s is not %d bytes in hexadecimal, as server_id_length says", quote(text), length)
		return ""
	}
	return string(id)
}
