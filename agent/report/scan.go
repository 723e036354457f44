package report

import "encoding/json"

// scanner takes tokens off a valid JSON document. encoding/json's tokens cost a
// balancer that hears a thousand agents a second a twentieth of a core.
type scanner struct{ rest []byte }

// take takes a delimiter if that is next.
func (s *scanner) take(delimiter byte) bool {
	if s.next() != delimiter {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// next is the first byte of the next token, 0 at the end.
func (s *scanner) next() byte {
	for len(s.rest) > 0 {
		switch c := s.rest[0]; c {
		case ' ', '\t', '\r', '\n':
			s.rest = s.rest[1:]
		default:
			return c
		}
	}
	return 0
}

// str takes a string, and nothing if another token is next.
func (s *scanner) str() (string, bool) {
	if s.next() != '"' {
		return "", false
	}
	plain := true
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '\\':
			plain = false
			i++
		case c >= 0x80:
			plain = false // it may not be UTF-8
		case c == '"':
			literal := s.rest[:i+1]
			s.rest = s.rest[i+1:]
			if plain {
				return string(literal[1:i]), true
			}
			var text string
			err := json.Unmarshal(literal, &text)
			return text, err == nil
		}
	}
	return "", false
}

// num takes a number, and nothing if another token is next.
func (s *scanner) num() (string, bool) {
	if c := s.next(); c != '-' && (c < '0' || c > '9') {
		return "", false
	}
	end := 1
	for end < len(s.rest) && isNumber(s.rest[end]) {
		end++
	}
	number := string(s.rest[:end])
	s.rest = s.rest[end:]
	return number, true
}

func isNumber(c byte) bool {
	return c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.' || c == 'e' || c == 'E'
}
