package config

import (
	"fmt"
	"strconv"
	"strings"
)

// serverWords are what can follow the address in the one-line form of a
// backend.
const serverWords = "weight, server_id, max_cpu, max_memory, max_iops, max_load and max_connections"

// expandServers turns backends in their one-line form, such as
// "10.0.0.11:80 weight=3 max_cpu=80%", into the long one.
func expandServers(r *report, p *path, listed []backend) {
	for i := range listed {
		if b := &listed[i]; b.Server != "" {
			if err := b.expand(); err != nil {
				r.field(p.item(i).key("server"), "%s %s", quote(b.Server), err)
			}
		}
	}
}

// expand returns errors that continue a sentence that begins with the text.
func (b *backend) expand() error {
	if b.Address != "" {
		return fmt.Errorf("is the short form of a backend; it goes without address")
	}
	words := strings.Fields(b.Server)
	if len(words) == 0 {
		return fmt.Errorf("names no address")
	}
	b.Address = words[0]
	for _, word := range words[1:] {
		key, value, found := strings.Cut(word, "=")
		if !found || value == "" {
			return fmt.Errorf("has %s after the address, which is not key=value; there are %s", quote(word), serverWords)
		}
		if err := b.set(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (b *backend) set(key, value string) error {
	limits := map[string]**amount{
		"max_cpu": &b.MaxCPU, "max_memory": &b.MaxMemory, "max_iops": &b.MaxIOPS, "max_load": &b.MaxLoad, "max_connections": &b.MaxConnections,
	}
	switch limit := limits[key]; {
	case key == "weight" && b.Weight == nil:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("has the weight %s, which is not a whole number", quote(value))
		}
		b.Weight = &n
	case key == "server_id" && b.ServerID == "":
		b.ServerID = value
	case limit != nil && *limit == nil:
		a := amount(value)
		*limit = &a
	case key == "weight" || key == "server_id" || limit != nil:
		return fmt.Errorf("has %s, which is there already", quote(key))
	default:
		return fmt.Errorf("has the unknown word %s; there are %s", quote(key), serverWords)
	}
	return nil
}
