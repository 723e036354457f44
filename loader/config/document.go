package config

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// readDocument gives the top node of the only YAML document in data, or nil
// after reporting why there is none.
func readDocument(r *report, data []byte) *yaml.Node {
	if len(data) > MaxBytes {
		r.line(1, "the file is larger than %d MiB", MaxBytes>>20)
		return nil
	}
	if line := unreadable(data); line > 0 {
		r.line(line, "not UTF-8 text without control characters")
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := d.Decode(&document); errors.Is(err, io.EOF) || err == nil && isNull(&document) {
		r.line(1, "the file is empty; interfaces, pools and services are expected")
		return nil
	} else if err != nil {
		syntax(r, err)
		return nil
	}
	var second yaml.Node
	if err := d.Decode(&second); err == nil {
		r.line(second.Line, "a second YAML document begins here; a file has one")
		return nil
	} else if !errors.Is(err, io.EOF) {
		syntax(r, err)
		return nil
	}
	return document.Content[0]
}

func isNull(document *yaml.Node) bool {
	return len(document.Content) == 0 || document.Content[0].ShortTag() == "!!null"
}

// unreadable gives the line of the first byte that cannot be in a YAML file,
// or 0: the YAML library does not say where it is.
func unreadable(data []byte) int {
	line := 1
	for len(data) > 0 {
		c, n := utf8.DecodeRune(data)
		control := c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f
		if control || c == utf8.RuneError && n == 1 {
			return line
		}
		if c == '\n' {
			line++
		}
		data = data[n:]
	}
	return 0
}

// syntax reports an error of the YAML library, "yaml: line 3: what".
func syntax(r *report, err error) {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, found := strings.CutPrefix(what, "line "); found {
		number, after, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, what = n, after
		}
	}
	r.line(line, "not valid YAML: %s", what)
}
