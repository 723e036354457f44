package model

import (
	"encoding/binary"
	"slices"
)

const (
	tagSize     = 4
	tagsAt      = 12 // behind both MAC addresses
	mostTags    = 2
	tagPriority = 0xf000
)

// Tag is a VLAN tag: its kind (0x8100 or 0x88a8), then priority and VLAN id.
type Tag struct{ Kind, Control uint16 }

// VLAN is what is below an interface that tags, and its tags, outermost first.
type VLAN struct {
	Interface int
	Tags      []Tag
}

// untag takes up to two tags off a frame.
func untag(b []byte) (tags []Tag, bare []byte) {
	rest := b[min(tagsAt, len(b)):]
	for len(tags) < mostTags && len(rest) >= tagSize+2 {
		kind := binary.BigEndian.Uint16(rest)
		if kind != ether8021Q && kind != ether8021A {
			break
		}
		tags = append(tags, Tag{kind, binary.BigEndian.Uint16(rest[2:])})
		rest = rest[tagSize:]
	}
	return tags, slices.Concat(b[:min(tagsAt, len(b))], rest)
}

// below is the interface by which a frame really leaves. Its tags are noted;
// the outermost has the priority of the one that the frame came with.
func (m *Model) below(to int) int {
	v, tags := m.config.VLANs[to]
	if !tags {
		m.leaves = nil
		return to
	}
	m.leaves = slices.Clone(v.Tags)
	if len(m.came) > 0 {
		m.leaves[0].Control |= m.came[0].Control & tagPriority
	}
	return v.Interface
}

// retag puts tags on a frame that goes on: its own on one that is passed.
func (m *Model) retag(v Verdict) {
	tags := m.leaves
	if v == Pass {
		tags = m.came
	}
	if len(tags) == 0 || v == Drop {
		return
	}
	var b []byte
	for _, t := range tags {
		b = binary.BigEndian.AppendUint16(b, t.Kind)
		b = binary.BigEndian.AppendUint16(b, t.Control)
	}
	m.setFrame(slices.Concat(m.result.Frame[:tagsAt], b, m.result.Frame[tagsAt:]))
}
