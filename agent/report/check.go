package report

import (
	"strconv"
	"strings"
)

// MaxCheckBytes of an agent-check, its end of line included.
const MaxCheckBytes = 1024

// ParseCheck reads what an agent answers to HAProxy's agent-check
// (configuration manual of HAProxy, "agent-check"): words between spaces, tabs
// and commas in any order and case, up to the first end of line; what follows a
// sharp describes. Unlike HAProxy it refuses unknown words and contradictions:
// a line that is half understood changes nothing.
func ParseCheck(text string) (Status, error) {
	if end := strings.IndexAny(text, "\r\n"); end >= 0 {
		text = text[:end]
	}
	if len(text) > MaxCheckBytes {
		return Status{}, refuse(TooLong, "agent-check of more than %d bytes", MaxCheckBytes)
	}
	words, reason, _ := strings.Cut(text, "#")
	var s Status
	said := false
	for word := range strings.FieldsFuncSeq(words, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		if err := s.take(strings.ToLower(word)); err != nil {
			return Status{}, err
		}
		said = true
	}
	if !said {
		return Status{}, refuse(Missing, "agent-check without a word")
	}
	s.Reason = strings.TrimSpace(reason)
	if err := s.Check(); err != nil {
		return Status{}, err
	}
	return s, nil
}

func (s *Status) take(word string) error {
	if percent, ok := strings.CutSuffix(word, "%"); ok {
		return takeCount(&s.Weight, word, percent)
	}
	if connections, ok := strings.CutPrefix(word, "maxconn:"); ok {
		return takeCount(&s.MaxConn, word, connections)
	}
	switch word {
	case "ready", "drain", "maint":
		return takeState(&s.Admin, Admin(word))
	case "up", "down", "fail", "stopped":
		return takeState(&s.Oper, Oper(word))
	case "failed": // in the wild, for the manual's fail
		return takeState(&s.Oper, Failed)
	}
	return refuse(UnknownField, "word %.40q of an agent-check is not known", word)
}

func takeState[T ~string](to *T, word T) error {
	if *to != "" {
		return refuse(Duplicate, "agent-check says %s and %s", *to, word)
	}
	*to = word
	return nil
}

func takeCount(to **int, word, digits string) error {
	if *to != nil {
		return refuse(Duplicate, "agent-check says %.40q besides another of its kind", word)
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return refuse(Malformed, "%.40q of an agent-check is not a whole number from 0 to 2147483647", word)
	}
	*to = new(int(n))
	return nil
}

// FormatCheck is a status as a line that HAProxy and ParseCheck read. One that
// says nothing, or what ParseCheck would refuse, is an error.
func FormatCheck(s Status) (string, error) {
	if err := s.Check(); err != nil {
		return "", err
	}
	var words []string
	if s.Oper != "" {
		words = append(words, string(s.Oper))
	}
	if s.Admin != "" {
		words = append(words, string(s.Admin))
	}
	if s.Weight != nil {
		words = append(words, strconv.Itoa(*s.Weight)+"%")
	}
	if s.MaxConn != nil {
		words = append(words, "maxconn:"+strconv.Itoa(*s.MaxConn))
	}
	if len(words) == 0 {
		return "", refuse(Missing, "agent-check without a word")
	}
	if reason := strings.TrimSpace(s.Reason); reason != "" {
		words = append(words, "#"+reason)
	}
	return strings.Join(words, " ") + "\n", nil
}
