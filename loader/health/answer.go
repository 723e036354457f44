package health

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"weir/loader/lb"
)

// maxHeaders is how long the head of an HTTP answer may be, maxBody how much
// of its body is looked at.
const (
	maxHeaders = 32 << 10
	maxBody    = 64 << 10
)

// answer says which HTTP answers are good.
type answer struct {
	status lb.StatusSet
	text   []byte
	expr   *regexp.Regexp
}

func newAnswer(h lb.Health) (answer, error) {
	a := answer{status: h.Status, text: []byte(h.Body)}
	if h.BodyRegexp == "" {
		return a, nil
	}
	var err error
	if a.expr, err = regexp.Compile(h.BodyRegexp); err != nil {
		return a, fmt.Errorf("regular expression of the body: %w", err)
	}
	return a, nil
}

// judge says what is wrong with an answer. Redirects are answers like any
// other: nothing is followed.
func (a answer) judge(r *http.Response) error {
	if !a.status.Has(r.StatusCode) {
		return failedf(ReasonStatus, "status", "%d is not %s", r.StatusCode, a.status)
	}
	if len(a.text) == 0 && a.expr == nil {
		return nil
	}
	return a.judgeBody(r.Body)
}

// judgeBody reads until it has found what it looks for, and not beyond
// maxBody.
func (a answer) judgeBody(body io.Reader) error {
	var got []byte
	chunk := make([]byte, 4096)
	for {
		n, err := body.Read(chunk[:min(len(chunk), maxBody-len(got))])
		got = append(got, chunk[:n]...)
		switch {
		case a.expr == nil && bytes.Contains(got, a.text):
			return nil
		case err == io.EOF || len(got) == maxBody:
			return a.judgeWhole(got)
		case err != nil:
			return failed("read the body", err, ReasonMalformed)
		}
	}
}

func (a answer) judgeWhole(got []byte) error {
	if !bytes.Contains(got, a.text) {
		return failedf(ReasonContent, "body", "%s is not in %s", excerpt(a.text), excerpt(got))
	}
	if a.expr != nil && !a.expr.Match(got) {
		return failedf(ReasonContent, "body", "/%s/ does not match %s", a.expr, excerpt(got))
	}
	return nil
}
