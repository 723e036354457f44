package static

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"weir/l7/exchange"
)

// mostListed is how many entries of a directory are shown.
const mostListed = 10000

// list answers with the entries of a directory, whose name ends with a slash.
func (s *Files) list(x *exchange.Exchange, name string) (bool, error) {
	if name == "" {
		name = "."
	}
	dir, err := s.root.Open(name)
	if err != nil {
		return false, absent(err)
	}
	defer func() { _ = dir.Close() }() // only read from
	entries, err := dir.ReadDir(mostListed)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, absent(err)
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !s.shows(e) })
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	x.Response.Status = http.StatusOK
	x.Response.Header.AddKnown(exchange.ContentType, []byte("text/html; charset=utf-8"))
	x.Response.SetBytes(page(string(x.Request.Path), entries))
	return true, nil
}

// shows reports whether an entry could be served; links are not followed to
// find out where they lead.
func (s *Files) shows(e fs.DirEntry) bool {
	return (e.IsDir() || e.Type().IsRegular()) && s.clean([]byte(e.Name()))
}

func page(path string, entries []fs.DirEntry) []byte {
	var b bytes.Buffer
	title := html.EscapeString(path)
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>%s</title></head><body><h1>%s</h1><ul>\n", title, title)
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		link := (&url.URL{Path: "./" + name}).EscapedPath()
		fmt.Fprintf(&b, "<li><a href=\"%s\">%s</a></li>\n", html.EscapeString(link), html.EscapeString(strings.ToValidUTF8(name, "\uFFFD")))
	}
	b.WriteString("</ul></body></html>\n")
	return b.Bytes()
}
