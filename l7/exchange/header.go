package exchange

import "iter"

// Field is one line of a header. The bytes belong to whoever made it, mostly
// a connection's read buffer, and are valid until the exchange has ended.
type Field struct {
	ID    Name   // Other if Text is not a known name
	Text  []byte // the name as it was sent; lower case in HTTP/2 and 3
	Value []byte // without white space around it
}

// Header is the fields of a message in the order in which they were sent. The
// zero value is empty. It keeps its memory through Reset.
type Header struct {
	fields []Field
	known  uint64 // bit n: there is a field whose ID is n
}

// Reset removes all fields.
func (h *Header) Reset() {
	clear(h.fields)
	h.fields, h.known = h.fields[:0], 0
}

// Len is the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// Fields are all fields, in order. They may be changed in place, but for ID
// and Text.
func (h *Header) Fields() []Field { return h.fields }

// Has reports whether there is a field of this name.
func (h *Header) Has(n Name) bool { return h.known>>n&1 != 0 }

// Get is the value of the first field of this name, or nil.
func (h *Header) Get(n Name) []byte {
	if !h.Has(n) {
		return nil
	}
	for i := range h.fields {
		if h.fields[i].ID == n {
			return h.fields[i].Value
		}
	}
	return nil
}

// GetText is Get for any name, in any case.
func (h *Header) GetText(text string) []byte {
	for v := range h.Values(text) {
		return v
	}
	return nil
}

// Values are the values of all fields of a name, in any case, in order.
func (h *Header) Values(text string) iter.Seq[[]byte] {
	id := NameOf(text)
	return func(yield func([]byte) bool) {
		if id != Other && !h.Has(id) {
			return
		}
		for i := range h.fields {
			if h.fields[i].is(id, text) && !yield(h.fields[i].Value) {
				return
			}
		}
	}
}

// Count is how many fields there are of a known name.
func (h *Header) Count(n Name) (count int) {
	if !h.Has(n) {
		return 0
	}
	for i := range h.fields {
		if h.fields[i].ID == n {
			count++
		}
	}
	return count
}

func (f *Field) is(id Name, text string) bool {
	return f.ID == id && (id != Other || equalFold(f.Text, text))
}

// Append adds a field whose Name is known already. text and value are kept,
// not copied.
func (h *Header) Append(n Name, text, value []byte) {
	h.fields = append(h.fields, Field{n, text, value})
	h.known |= 1 << n &^ 1
}

// Add adds a field of any name. The value is kept, not copied.
func (h *Header) Add(text string, value []byte) {
	h.Append(NameOf(text), []byte(text), value)
}

// AddKnown adds a field of a known name. The value is kept, not copied.
func (h *Header) AddKnown(n Name, value []byte) { h.Append(n, nameBytes[n], value) }

// Set puts one field in place of all of its name.
func (h *Header) Set(text string, value []byte) {
	h.Del(text)
	h.Add(text, value)
}

// SetKnown is Set for a known name.
func (h *Header) SetKnown(n Name, value []byte) {
	h.DelKnown(n)
	h.AddKnown(n, value)
}

// DelKnown removes all fields of a known name.
func (h *Header) DelKnown(n Name) {
	if h.Has(n) {
		h.DelFunc(func(f *Field) bool { return f.ID == n })
	}
}

// Del removes all fields of a name, in any case.
func (h *Header) Del(text string) {
	id := NameOf(text)
	if id == Other || h.Has(id) {
		h.DelFunc(func(f *Field) bool { return f.is(id, text) })
	}
}

// DelFunc removes the fields for which drop is true.
func (h *Header) DelFunc(drop func(*Field) bool) {
	kept := h.fields[:0]
	h.known = 0
	for i := range h.fields {
		f := h.fields[i]
		if drop(&f) {
			continue
		}
		kept = append(kept, f)
		h.known |= 1 << f.ID &^ 1
	}
	clear(h.fields[len(kept):])
	h.fields = kept
}

// nameBytes are the names for Append. Nobody changes them.
var nameBytes = func() (all [Names][]byte) {
	for n := Other + 1; n < Names; n++ {
		all[n] = []byte(nameTexts[n])
	}
	return all
}()
