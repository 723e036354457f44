package config

import (
	"strconv"

	"go.yaml.in/yaml/v3"
)

// path is the way from the top of the file to one field: "pools[0].name". It
// costs little to make and is written out only when there is an error.
type path struct {
	parent *path
	name   string // of a key; empty for an item
	index  int    // of an item
}

// top is the whole file. It is never changed.
var top = &path{}

func (p *path) key(name string) *path { return &path{parent: p, name: name} }
func (p *path) item(index int) *path  { return &path{parent: p, index: index} }

func (p *path) String() string {
	switch {
	case p.parent == nil:
		return ""
	case p.name == "":
		return p.parent.String() + "[" + strconv.Itoa(p.index) + "]"
	case p.parent.parent == nil:
		return p.name
	}
	return p.parent.String() + "." + p.name
}

// find gives the field's value and the node where the field begins, which is
// the key where there is one. For a field that is not there they are those of
// the nearest field around it.
func (p *path) find(root *yaml.Node) (value, begin *yaml.Node) {
	if p.parent == nil {
		return root, root
	}
	parent, begin := p.parent.find(root)
	switch {
	case p.name == "" && parent.Kind == yaml.SequenceNode && p.index < len(parent.Content):
		item := parent.Content[p.index]
		return item, item
	case p.name != "" && parent.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(parent.Content); i += 2 {
			if key := parent.Content[i]; key.Value == p.name {
				return parent.Content[i+1], key
			}
		}
	}
	return parent, begin
}
