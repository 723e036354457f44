package certs

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

func TestStaple(t *testing.T) {
	ca, other, dir := newAuthority(t, "ca"), newAuthority(t, "other"), t.TempDir()
	now := time.Now()
	for _, c := range []struct {
		name    string
		status  int
		signer  *authority
		reply   func([]byte) []byte // nil: as it is
		stapled bool
	}{
		{"good", ocsp.Good, ca, nil, true},
		{"revoked", ocsp.Revoked, ca, nil, false},
		{"another's signature", ocsp.Good, other, nil, false},
		{"nonsense", ocsp.Good, ca, func([]byte) []byte { return []byte("hello") }, false},
		{"endless", ocsp.Good, ca, func([]byte) []byte { return []byte(strings.Repeat("x", stapleMost+1)) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(r.Body)
				question, err := ocsp.ParseRequest(text)
				if err != nil {
					t.Error(err)
					return
				}
				answer, err := ocsp.CreateResponse(c.signer.certificate, c.signer.certificate, ocsp.Response{
					Status: c.status, SerialNumber: question.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(time.Hour), RevokedAt: now,
				}, c.signer.key)
				if err != nil {
					t.Error(err)
					return
				}
				if c.reply != nil {
					answer = c.reply(answer)
				}
				w.Write(answer)
			}))
			defer responder.Close()
			s := open(t, Options{Staple: true, Pairs: []Pair{put(t, dir, c.name, ca.issue(t, want{hosts: []string{"a.example"}, responder: responder.URL}))}})
			next := s.stapleOne(t.Context(), responder.Client(), s.watched()[0])
			state, err := shake(t, s, &tls.Config{ServerName: "a.example", RootCAs: ca.pool()})
			if err != nil {
				t.Fatal(err)
			}
			if (len(state.OCSPResponse) > 0) != c.stapled || s.List()[0].Stapled != c.stapled {
				t.Errorf("%d bytes were stapled", len(state.OCSPResponse))
			}
			if !c.stapled && next != stapleRetry || c.stapled && (next < 29*time.Minute || next > 31*time.Minute) {
				t.Errorf("the next look is in %s", next)
			}
		})
	}
}
