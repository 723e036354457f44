package static

import "strings"

// name appends to buf, or slices, the name below the root that a path stands
// for, without the first slash. The path is canonical: still percent-encoded,
// where that matters. ok is false for what no file may be called: a segment
// "..", a NUL, a slash that was encoded, a dotfile.
func (s *Files) name(buf, path []byte) (name []byte, ok bool) {
	rest, ok := cutPrefix(path, s.Prefix)
	if !ok || len(rest) == 0 || rest[0] != '/' {
		return nil, false
	}
	name, ok = unescape(buf, rest[1:])
	if !ok {
		return nil, false
	}
	return name, s.clean(name)
}

func cutPrefix(path []byte, prefix string) ([]byte, bool) {
	if len(path) < len(prefix) || string(path[:len(prefix)]) != prefix {
		return nil, false
	}
	return path[len(prefix):], true
}

// unescape appends path to buf with %XX decoded.
func unescape(buf, path []byte) ([]byte, bool) {
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			if i+2 >= len(path) {
				return nil, false
			}
			high, low := hex(path[i+1]), hex(path[i+2])
			if high < 0 || low < 0 {
				return nil, false
			}
			if c = byte(high<<4 | low); c == '/' {
				return nil, false
			}
			i += 2
		}
		if c == 0 {
			return nil, false
		}
		buf = append(buf, c)
	}
	return buf, true
}

func hex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// clean reports whether each segment of a name may be served.
func (s *Files) clean(name []byte) bool {
	for start, i := 0, 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		segment := name[start:i]
		if len(segment) == 0 && i < len(name) {
			return false
		}
		if len(segment) > 0 && segment[0] == '.' && !s.allowsDot(string(segment)) {
			return false
		}
		start = i + 1
	}
	return true
}

func (s *Files) allowsDot(segment string) bool {
	return segment == ".well-known" || s.Dotfiles && strings.Trim(segment, ".") != ""
}
