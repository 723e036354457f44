package lb

// MaxTags is how many VLAN tags a frame may have.
const MaxTags = 2

// VLAN is an interface that tags: what leaves by it really leaves by another,
// below it, with its tag and those of VLAN interfaces in between, outermost
// first.
type VLAN struct {
	IfIndex int
	Below   int // the interface that has no tag
	Tags    [MaxTags]Tag
}

// Tag is a VLAN tag; the zero Tag is none.
type Tag struct {
	Kind uint16 // TPID: 0x8100 (802.1Q) or 0x88a8 (802.1ad)
	ID   uint16 // 0 to 4095
}
