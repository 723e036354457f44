package exchange

// Detach copies what lies in buffers of connections to memory of its own, no
// more than it takes, so that they can be given back: for an exchange that goes
// on for long after its headers.
func (x *Exchange) Detach() {
	r := &x.Request
	all := [...]*[]byte{&r.Method, &r.Target, &r.Authority, &r.Path, &r.Query, &x.ID}
	size := r.Header.size() + x.Response.Header.size()
	for _, b := range all {
		size += len(*b)
	}
	block := make([]byte, 0, size)
	for _, b := range all {
		block = move(block, b)
	}
	block = r.Header.move(block)
	x.Response.Header.move(block)
	x.room = nil
}

func (h *Header) size() (n int) {
	for i := range h.fields {
		n += len(h.fields[i].Text) + len(h.fields[i].Value)
	}
	return n
}

func (h *Header) move(block []byte) []byte {
	for i := range h.fields {
		block = move(block, &h.fields[i].Text)
		block = move(block, &h.fields[i].Value)
	}
	return block
}

// move has b be a copy at the end of block, which has room for it.
func move(block []byte, b *[]byte) []byte {
	start := len(block)
	block = append(block, *b...)
	if *b != nil {
		*b = block[start:len(block):len(block)]
	}
	return block
}
