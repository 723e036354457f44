package cache

import (
	"strings"
	"testing"
	"time"
)

const s = time.Second

// fresh is the answer of an origin with a minute's freshness.
const fresh = "200\nDate: {now}\nCache-Control: max-age=60\n\n"

// TestConformance has a case for each requirement on a shared cache of RFC 9111,
// 3 to 5, and of its companions: RFC 5861, 9211 and 9213. Names begin with the
// document, unless it is RFC 9111, and the section. Each is played to the
// handler, and over a connection to a listener's end.
func TestConformance(t *testing.T) {
	for _, c := range conformance() {
		t.Run(strings.ReplaceAll(c.name, "/", ","), func(t *testing.T) {
			t.Run("handler", func(t *testing.T) {
				inBubble(t, func(t *testing.T) { newRig(t, Options{}, c.policy).play(c.steps) })
			})
			t.Run("listener", func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					r := newRig(t, Options{}, c.policy)
					r.wire = newWire(r)
					defer r.wire.close()
					r.play(c.steps)
				})
			})
		})
	}
}

type conformanceCase struct {
	name   string
	policy Policy
	steps  []step
}

func conformance() []conformanceCase {
	var all []conformanceCase
	for _, part := range [][]conformanceCase{
		storing, storedFields, authorization, constructing, varying, freshness, staleness,
		validation, invalidation, requestDirectives, responseDirectives, companions,
	} {
		all = append(all, part...)
	}
	return all
}

// notStored are two steps that show that an answer to GET / is not stored.
func notStored(answer string) []step {
	return []step{
		{ask: "GET /", origin: answer, want: answer[:3]},
		{ask: "GET /", origin: "200\n\nsecond", want: "200\n\nsecond"},
	}
}

// isStored are two steps that show that an answer to GET / is stored.
func isStored(answer string) []step {
	return []step{
		{ask: "GET /", origin: answer + "\n\nfirst", want: answer[:3] + "\n\nfirst"},
		{ask: "GET /", want: answer[:3] + "\n\nfirst"},
	}
}

var storing = []conformanceCase{
	{"1.2.2 delta-seconds beyond what fits are 2^31", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nCache-Control: max-age=18446744073709551617\n\na", want: "200\n\na"}, // 2^64 + 1
		{after: 1000 * time.Hour, ask: "GET /", want: "200\nAge: 3600000\n\na"},
	}},
	{"1.2.2 an age beyond what fits is not negative", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nAge: 99999999999999999999\nCache-Control: max-age=60\nETag: \"a\"\n\na", want: "200\n\na"},
		{ask: "GET /", origin: "304\nETag: \"a\"\nCache-Control: max-age=60\nDate: {now}", sent: `If-None-Match: "a"`, want: "200\n\na"},
	}},
	{"3 stores what has max-age", Policy{}, isStored("200\nCache-Control: max-age=60")},
	{"3 stores what has s-maxage", Policy{}, isStored("200\nCache-Control: s-maxage=60")},
	{"3 stores what has Expires", Policy{}, isStored("200\nDate: {now}\nExpires: {now+60s}")},
	{"3 stores any final status with explicit freshness", Policy{}, isStored("418\nCache-Control: max-age=60")},
	{"3 MUST NOT store without anything that allows it", Policy{TTL: time.Minute}, notStored("302\nLocation: /x\n\nfirst")},
	{"3 stores heuristically cacheable statuses by configuration", Policy{TTL: time.Minute}, isStored("404")},
	{"3 MUST NOT store the answer to a method that is not understood", Policy{}, []step{
		{ask: "REPORT /", origin: fresh + "first", want: "200\n\nfirst"},
		{ask: "REPORT /", origin: fresh + "second", want: "200\n\nsecond"},
		{ask: "GET /", origin: fresh + "third", want: "200\n\nthird"},
	}},
	{"3 MUST NOT store 206", Policy{}, []step{
		{ask: "GET /\nRange: bytes=0-0", origin: "206\nCache-Control: max-age=60\nContent-Range: bytes 0-0/5\n\nf", want: "206\n\nf"},
		{ask: "GET /", origin: fresh + "whole", want: "200\n\nwhole"},
	}},
	{"3 MUST NOT store 304", Policy{}, []step{
		{ask: "GET /", origin: "304\nCache-Control: max-age=60", want: "304"},
		{ask: "GET /", origin: fresh + "whole", want: "200\n\nwhole"},
	}},
	{"3, 5.2.2.3 MUST NOT store must-understand with an unknown status", Policy{}, notStored("418\nCache-Control: must-understand, max-age=60\n\nfirst")},
	{"3, 5.2.2.3 must-understand overrides no-store for a known status", Policy{}, isStored("200\nCache-Control: must-understand, no-store, max-age=60")},
	{"3, 5.2.2.5 MUST NOT store no-store", Policy{}, notStored("200\nCache-Control: no-store, max-age=60\n\nfirst")},
	{"3, 5.2.2.5 no-store counts in any case and line", Policy{}, notStored("200\nCache-Control: max-age=60\nCache-Control: NO-STORE\n\nfirst")},
	{"3, 5.2.2.7 MUST NOT store private", Policy{}, notStored("200\nCache-Control: private, max-age=60\n\nfirst")},
	{"3.3 MUST NOT use an incomplete answer", Policy{}, []step{
		// An origin that announces more than it sends is in TestAborted.
		{ask: "GET /", origin: fresh + "whole", want: "200\n\nwhole"},
		{ask: "GET /\nRange: bytes=1-2", want: "206\nContent-Range: bytes 1-2/5\n\nho"},
	}},
	{"3.3 MUST NOT send a part without 206", Policy{}, []step{
		{ask: "GET /", origin: fresh + "whole", want: "200\n\nwhole"},
		{ask: "GET /\nRange: bytes=-2", want: "206\nContent-Range: bytes 3-4/5\n\nle"},
		{ask: "GET /\nRange: bytes=9-", want: "416\nContent-Range: bytes */5"},
		{ask: "GET /\nRange: lines=1-2", want: "200\n\nwhole"},
		{ask: "GET /\nRange: bytes=1-2\nIf-Range: \"x\"", want: "200\n\nwhole"},
	}},
	{"3 a range of what is not stored yet is a part of the whole", Policy{}, []step{
		{ask: "GET /\nRange: bytes=1-2", origin: fresh + "whole", sent: "!Range", want: "206\nContent-Range: bytes 1-2/5\n\nho"},
		{ask: "GET /", want: "200\n\nwhole"},
	}},
}

var storedFields = []conformanceCase{
	{"3.1 MUST include all fields, unknown ones too", Policy{}, []step{
		{ask: "GET /", origin: "200\nCache-Control: max-age=60\nX-Unknown: a\nX-Unknown: b\nContent-Type: text/x\n\na", want: "200"},
		{ask: "GET /", want: "200\nX-Unknown: a\nX-Unknown: b\nContent-Type: text/x\nCache-Control: max-age=60\n\na"},
	}},
	{"3.1 MUST NOT store fields of the proxy", Policy{}, []step{
		{ask: "GET /", origin: "200\nCache-Control: max-age=60\nProxy-Authenticate: Basic\nProxy-Authentication-Info: x\nProxy-Authorization: y\n\na", want: "200"},
		{ask: "GET /", want: "200\n!Proxy-Authenticate\n!Proxy-Authentication-Info\n!Proxy-Authorization\n\na"},
	}},
	{"3.1, 5.2.2.7 MUST NOT store fields that private names", Policy{}, []step{
		{ask: "GET /", origin: "200\nCache-Control: max-age=60, private=\"X-User, x-other\"\nX-User: me\nX-Other: z\nX-All: b\n\na", want: "200\nX-User: me"},
		{ask: "GET /", want: "200\n!X-User\n!X-Other\nX-All: b\n\na"},
	}},
	{"3.1, 5.2.2.4 fields that no-cache names are not used again", Policy{}, []step{
		{ask: "GET /", origin: "200\nCache-Control: max-age=60, no-cache=\"set-cookie\"\nSet-Cookie: a=b\n\na", want: "200\nSet-Cookie: a=b"},
		{ask: "GET /", want: "200\n!Set-Cookie\n\na"},
	}},
	{"3.2 a 304 MUST replace fields, but not Content-Length", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=1\nX-A: old\nX-B: old\nContent-Type: text/old\n\nbody", want: "200"},
		{after: 2 * s, ask: "GET /", origin: "304\nETag: \"a\"\nCache-Control: max-age=60\nX-A: new\nX-A: newer\nX-C: added\nContent-Length: 999\nContent-Type: text/new",
			sent: `If-None-Match: "a"`, want: "200\nX-A: new\nX-A: newer\nX-B: old\nX-C: added\nContent-Type: text/new\n\nbody"},
		{ask: "GET /", want: "200\nX-A: new\nX-B: old\nX-C: added\nCache-Control: max-age=60\n\nbody"},
	}},
	{"RFC 9110, 6.6.1 an answer without Date MUST get one", Policy{}, []step{
		{ask: "GET /", origin: "200\nCache-Control: max-age=60\n\na", want: "200\nDate: {now}"},
		{after: 5 * s, ask: "GET /", want: "200\nDate: {now-5s}\nAge: 5\n\na"},
	}},
}

const authorized = "GET /\nAuthorization: Basic x"

var authorization = []conformanceCase{
	{"3.5 MUST NOT store the answer to Authorization", Policy{Authorization: true}, []step{
		{ask: authorized, origin: fresh + "first", want: "200\n\nfirst"},
		{ask: "GET /", origin: fresh + "second", want: "200\n\nsecond"},
	}},
	{"3.5 public allows it", Policy{Authorization: true}, []step{
		{ask: authorized, origin: "200\nCache-Control: public, max-age=60\n\nfirst", want: "200\n\nfirst"},
		{ask: "GET /", want: "200\n\nfirst"},
	}},
	{"3.5 s-maxage allows it", Policy{Authorization: true}, []step{
		{ask: authorized, origin: "200\nCache-Control: s-maxage=60\n\nfirst", want: "200\n\nfirst"},
		{ask: "GET /", want: "200\n\nfirst"},
	}},
	{"3.5 must-revalidate allows it", Policy{Authorization: true}, []step{
		{ask: authorized, origin: "200\nCache-Control: must-revalidate, max-age=60\n\nfirst", want: "200\n\nfirst"},
		{ask: "GET /", want: "200\n\nfirst"},
	}},
	{"3.5 what the policy does not allow is not stored, whatever it says", Policy{}, []step{
		{ask: authorized, origin: "200\nCache-Control: public, max-age=60\n\nfirst", want: "200\n\nfirst"},
		{ask: "GET /", origin: fresh + "second", want: "200\n\nsecond"},
	}},
	{"3.5 max-age of a targeted field alone does not allow it", Policy{Authorization: true}, []step{
		{ask: authorized, origin: "200\nCDN-Cache-Control: max-age=60\nCache-Control: public\n\nfirst", want: "200\n\nfirst"},
		{ask: "GET /", origin: fresh + "second", want: "200\n\nsecond"},
	}},
	{"7.3 Set-Cookie is not stored", Policy{}, notStored("200\nCache-Control: public, max-age=60\nSet-Cookie: a=b\n\nfirst")},
	{"7.3 Set-Cookie is stored without it if the policy allows", Policy{SetCookie: true}, []step{
		{ask: "GET /", origin: "200\nCache-Control: max-age=60\nSet-Cookie: a=b\n\nfirst", want: "200"},
		{ask: "GET /", want: "200\n!Set-Cookie\n\nfirst"},
	}},
}

var constructing = []conformanceCase{
	{"4 MUST NOT use what has another URI", Policy{}, []step{
		{ask: "GET /a", origin: fresh + "a", want: "200\n\na"},
		{ask: "GET /b", origin: fresh + "b", want: "200\n\nb"},
		{ask: "GET /a?x", origin: fresh + "ax", want: "200\n\nax"},
		{ask: "GET /a\nHost: other.org", origin: fresh + "other", want: "200\n\nother"},
		{ask: "GET /a", want: "200\n\na"},
	}},
	{"4 HEAD may have the stored answer to GET", Policy{}, []step{
		{ask: "GET /", origin: fresh + "body", want: "200\n\nbody"},
		{ask: "HEAD /", want: "200\nAge: 0\n\n"},
	}},
	{"4 MUST NOT use the answer to HEAD for GET", Policy{}, []step{
		{ask: "HEAD /", origin: "200\nCache-Control: max-age=60\nContent-Length: 4", want: "200\n\n"},
		{ask: "GET /", origin: fresh + "body", want: "200\n\nbody"},
	}},
	{"4, 5.1 MUST generate Age, in place of any", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nAge: 10\nCache-Control: max-age=60\n\na", want: "200"},
		{after: 7 * s, ask: "GET /", want: "200\nAge: 17\n\na"},
		{after: 42 * s, ask: "GET /", want: "200\nAge: 59\n\na"},
		{after: 1 * s, ask: "GET /", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"4 MUST write through unsafe methods", Policy{}, []step{
		{ask: "GET /", origin: fresh + "a", want: "200\n\na"},
		{ask: "POST /\n\nx", origin: "200\n\nposted", want: "200\n\nposted"},
		{ask: "PUT /\n\nx", origin: "204", want: "204"},
		{ask: "DELETE /", origin: "204", want: "204"},
		{ask: "NEVERHEARD /", origin: "200\n\nx", want: "200\n\nx"},
	}},
	{"4 MUST use the most recent of several by Date", Policy{}, []step{
		{ask: "GET /\nX-A: 1", origin: "200\nDate: {now}\nVary: X-A\nCache-Control: max-age=60\n\nnewer", want: "200\n\nnewer"},
		{ask: "GET /\nX-A: 2", origin: "200\nDate: {now-10s}\nVary: X-B\nCache-Control: max-age=60\n\nolder", want: "200\n\nolder"},
		{ask: "GET /\nX-A: 1", want: "200\n\nnewer"},
		{ask: "GET /\nX-A: 2", want: "200\n\nolder"},
	}},
}

var varying = []conformanceCase{
	{"4.1 MUST NOT use what another value of a Vary field chose", Policy{}, []step{
		{ask: "GET /\nX-A: 1", origin: fresh[:len(fresh)-1] + "Vary: X-A\n\none", want: "200\n\none"},
		{ask: "GET /\nX-A: 2", origin: fresh[:len(fresh)-1] + "Vary: X-A\n\ntwo", want: "200\n\ntwo"},
		{ask: "GET /", origin: fresh[:len(fresh)-1] + "Vary: X-A\n\nnone", want: "200\n\nnone"},
		{ask: "GET /\nX-A: 1", want: "200\n\none"},
		{ask: "GET /\nx-a: 2", want: "200\n\ntwo"},
		{ask: "GET /", want: "200\n\nnone"},
	}},
	{"4.1 all fields of Vary count", Policy{}, []step{
		{ask: "GET /\nX-A: 1\nX-B: 1", origin: fresh[:len(fresh)-1] + "Vary: X-A\nVary: x-b\n\n11", want: "200\n\n11"},
		{ask: "GET /\nX-A: 1\nX-B: 2", origin: fresh[:len(fresh)-1] + "Vary: X-A, X-B\n\n12", want: "200\n\n12"},
		{ask: "GET /\nX-B: 1\nX-A: 1", want: "200\n\n11"},
	}},
	{"4.1 white space and lines do not matter", Policy{}, []step{
		{ask: "GET /\nX-A: 1, 2", origin: fresh[:len(fresh)-1] + "Vary: X-A\n\na", want: "200\n\na"},
		{ask: "GET /\nX-A: 1\nX-A: 2", want: "200\n\na"},
		{ask: "GET /\nX-A: 1 ,2", want: "200\n\na"},
		{ask: "GET /\nX-A: 2,1", origin: fresh[:len(fresh)-1] + "Vary: X-A\n\nb", want: "200\n\nb"},
	}},
	{"4.1 absent matches only absent", Policy{}, []step{
		{ask: "GET /", origin: fresh[:len(fresh)-1] + "Vary: X-A\n\na", want: "200\n\na"},
		{ask: "GET /\nX-A:", origin: fresh[:len(fresh)-1] + "Vary: X-A\n\nb", want: "200\n\nb"},
	}},
	{"4.1 * always fails to match", Policy{}, notStored("200\nCache-Control: max-age=60\nVary: X-A, *\n\nfirst")},
	{"4.1 values that differ in case differ", Policy{}, []step{
		{ask: "GET /\nX-A: a", origin: fresh[:len(fresh)-1] + "Vary: X-A\n\na", want: "200\n\na"},
		{ask: "GET /\nX-A: A", origin: fresh[:len(fresh)-1] + "Vary: X-A\n\nb", want: "200\n\nb"},
	}},
	{"4.1 case does not matter in Accept-Language", Policy{}, []step{
		{ask: "GET /\nAccept-Language: de-DE, en", origin: fresh[:len(fresh)-1] + "Vary: accept-language\n\na", want: "200\n\na"},
		{ask: "GET /\nAccept-Language: DE-de,EN", want: "200\n\na"},
	}},
	{"4.1 Accept-Encoding is put into one form", Policy{}, []step{
		{ask: "GET /\nAccept-Encoding: gzip, deflate, br;q=0.9", origin: fresh[:len(fresh)-1] + "Vary: Accept-Encoding\n\na",
			sent: "Accept-Encoding: br, gzip", want: "200\n\na"},
		{ask: "GET /\nAccept-Encoding: br, gzip", want: "200\n\na"},
		{ask: "GET /\nAccept-Encoding: gzip", origin: fresh[:len(fresh)-1] + "Vary: Accept-Encoding\n\nb", want: "200\n\nb"},
	}},
}

var freshness = []conformanceCase{
	{"4.2 fresh means younger than the lifetime", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nCache-Control: max-age=10\n\na", want: "200"},
		{after: 10*s - 1, ask: "GET /", want: "200\nAge: 9\n\na"},
		{after: 1, ask: "GET /", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"4.2 dates in any case, in GMT only", Policy{}, []step{
		{ask: "GET /a", origin: "200\nDate: {now}\nExpires: sat, 01 jan 2000 00:01:00 gmt\n\na", want: "200"},
		{ask: "GET /a", want: "200\n\na"},
		{ask: "GET /b", origin: "200\nDate: {now}\nExpires: Sat, 01 Jan 2000 00:01:00 EST\n\na", want: "200"},
		{ask: "GET /b", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"4.2 local time zones MUST NOT matter", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: Saturday, 01-Jan-00 00:00:00 GMT\nExpires: Sat Jan  1 00:01:00 2000\n\na", want: "200"},
		{after: 59 * s, ask: "GET /", want: "200\n\na"},
		{after: 1 * s, ask: "GET /", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"4.2.1 s-maxage before max-age before Expires", Policy{}, []step{
		{ask: "GET /a", origin: "200\nDate: {now}\nCache-Control: max-age=1, s-maxage=60\nExpires: {now-1h}\n\na", want: "200"},
		{after: 59 * s, ask: "GET /a", want: "200\n\na"},
		{ask: "GET /b", origin: "200\nDate: {now}\nCache-Control: max-age=1\nExpires: {now+60s}\n\na", want: "200"},
		{after: 2 * s, ask: "GET /b", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"4.2.1 Expires less Date, or less the time of receipt", Policy{}, []step{
		{ask: "GET /a", origin: "200\nDate: {now+1h}\nExpires: {now+3610s}\n\na", want: "200"},
		{after: 9 * s, ask: "GET /a", want: "200\n\na"},
		{after: 1 * s, ask: "GET /a", origin: fresh + "b", want: "200\n\nb"},
		{ask: "GET /b", origin: "200\nExpires: {now+10s}\n\na", want: "200"},
		{after: 9 * s, ask: "GET /b", want: "200\n\na"},
		{after: 1 * s, ask: "GET /b", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"4.2.1 of two of one directive the first counts", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nCache-Control: max-age=10, max-age=60\n\na", want: "200"},
		{after: 10 * s, ask: "GET /", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"4.2.1 freshness that is no number is stale", Policy{}, []step{
		{ask: "GET /a", origin: "200\nCache-Control: max-age=x\n\na", want: "200"},
		{ask: "GET /a", origin: fresh + "b", want: "200\n\nb"},
		{ask: "GET /b", origin: "200\nCache-Control: max-age=-1\n\na", want: "200"},
		{ask: "GET /b", origin: fresh + "b", want: "200\n\nb"},
		{ask: "GET /c", origin: "200\nCache-Control: max-age=60.5\n\na", want: "200"},
		{ask: "GET /c", origin: fresh + "b", want: "200\n\nb"},
		{ask: "GET /d", origin: "200\nCache-Control: max-age =60\n\na", want: "200"},
		{ask: "GET /d", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"4.2.2 MUST NOT guess where freshness is explicit", Policy{Heuristic: 0.1}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nLast-Modified: {now-100h}\nCache-Control: max-age=1\n\na", want: "200"},
		{after: 2 * s, ask: "GET /", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"4.2.2 a tenth of the time since Last-Modified", Policy{Heuristic: 0.1}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nLast-Modified: {now-100s}\n\na", want: "200"},
		{after: 9 * s, ask: "GET /", want: "200\n\na"},
		{after: 1 * s, ask: "GET /", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"4.2.2 MUST NOT guess for other statuses", Policy{Heuristic: 0.1}, notStored("302\nDate: {now}\nLast-Modified: {now-100h}\n\nfirst")},
	{"4.2.2, 5.2.2.9 public lets it guess", Policy{Heuristic: 0.1}, isStored("302\nDate: {now}\nLast-Modified: {now-100h}\nCache-Control: public")},
	{"4.2.3 age from Date where that is more", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now-30s}\nAge: 10\nCache-Control: max-age=60\n\na", want: "200"},
		{after: 1 * s, ask: "GET /", want: "200\nAge: 31\n\na"},
	}},
	{"4.2.3 a Date in the future makes no negative age", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now+30s}\nCache-Control: max-age=60\n\na", want: "200"},
		{after: 1 * s, ask: "GET /", want: "200\nAge: 1\n\na"},
	}},
	{"5.1 the first of several ages counts, and one that is none does not", Policy{}, []step{
		{ask: "GET /a", origin: "200\nDate: {now}\nAge: 10, 50\nCache-Control: max-age=60\n\na", want: "200"},
		{ask: "GET /a", want: "200\nAge: 10\n\na"},
		{ask: "GET /b", origin: "200\nDate: {now}\nAge: ten\nCache-Control: max-age=60\n\na", want: "200"},
		{ask: "GET /b", want: "200\nAge: 0\n\na"},
	}},
	{"5.3 what is no date is in the past, above all 0", Policy{}, []step{
		{ask: "GET /a", origin: "200\nExpires: 0\n\na", want: "200"},
		{ask: "GET /a", origin: fresh + "b", want: "200\n\nb"},
		{ask: "GET /b", origin: "200\nExpires: soon\n\na", want: "200"},
		{ask: "GET /b", origin: fresh + "b", want: "200\n\nb"},
		{ask: "GET /c", origin: "200\nExpires: {now+1h}\nExpires: {now+1h}\n\na", want: "200"},
		{ask: "GET /c", origin: fresh + "b", want: "200\n\nb"},
		{ask: "GET /d", origin: "200\nExpires: Sat, 01 Jan 2000 1:00:00 GMT\n\na", want: "200"},
		{ask: "GET /d", origin: fresh + "b", want: "200\n\nb"},
	}},
}

var staleness = []conformanceCase{
	{"4.2.4 MUST NOT give what is stale if a directive prohibits it", Policy{IfError: time.Hour, WhileStale: time.Hour}, []step{
		{ask: "GET /m", origin: "200\nCache-Control: max-age=1, must-revalidate\n\na", want: "200"},
		{ask: "GET /p", origin: "200\nCache-Control: max-age=1, proxy-revalidate\n\na", want: "200"},
		{ask: "GET /s", origin: "200\nCache-Control: s-maxage=1\n\na", want: "200"},
		{ask: "GET /n", origin: "200\nCache-Control: max-age=100, no-cache\nETag: \"a\"\n\na", want: "200"},
		{after: 2 * s, ask: "GET /m\nCache-Control: max-stale, stale-if-error=100", origin: "503\n\nx", want: "503\n\nx"},
		{ask: "GET /p\nCache-Control: max-stale", origin: "503\n\nx", want: "503\n\nx"},
		{ask: "GET /s\nCache-Control: max-stale", origin: "503\n\nx", want: "503\n\nx"},
		{ask: "GET /n\nCache-Control: max-stale", origin: "503\n\nx", want: "503\n\nx"},
	}},
	{"4.2.4 MUST NOT give what is stale without permission", Policy{}, []step{
		{ask: "GET /", origin: "200\nCache-Control: max-age=1\n\na", want: "200"},
		{after: 2 * s, ask: "GET /", origin: "503\n\nx", want: "503\n\nx"},
	}},
	{"4.2.4, 5.2.1.2 max-stale of the client permits it", Policy{}, []step{
		{ask: "GET /", origin: "200\nCache-Control: max-age=1\n\na", want: "200"},
		{after: 10 * s, ask: "GET /\nCache-Control: max-stale", want: "200\nAge: 10\n\na"},
		{ask: "GET /\nCache-Control: max-stale=9", want: "200\nAge: 10\n\na"},
		{ask: "GET /\nCache-Control: max-stale=8", origin: fresh + "b", want: "200\n\nb"},
	}},
}
