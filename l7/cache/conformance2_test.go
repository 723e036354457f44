package cache

import "time"

var validation = []conformanceCase{
	{"4.3.1 MUST send the entity tag, and Last-Modified", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nLast-Modified: {now-1h}\nCache-Control: max-age=1\n\na", want: "200"},
		{after: 2 * s, ask: "GET /", origin: "304\nETag: \"a\"", sent: "If-None-Match: \"a\"\nIf-Modified-Since: {now-3602s}", want: "200\n\na"},
	}},
	{"4.3.1 Last-Modified alone", Policy{}, []step{
		{ask: "GET /", origin: "200\nLast-Modified: {now-1h}\nCache-Control: max-age=1\n\na", want: "200"},
		{after: 2 * s, ask: "GET /", origin: "304\nCache-Control: max-age=60", sent: "!If-None-Match\nIf-Modified-Since: {now-3602s}", want: "200\n\na"},
		{ask: "GET /", want: "200\nAge: 0\n\na"},
	}},
	{"4.3.1 nothing to validate by: asked for anew", Policy{}, []step{
		{ask: "GET /", origin: "200\nCache-Control: max-age=1\n\na", want: "200"},
		{after: 2 * s, ask: "GET /", origin: fresh + "b", sent: "!If-None-Match\n!If-Modified-Since", want: "200\n\nb"},
	}},
	{"4.3.2 evaluates conditions on what is stored", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nETag: W/\"a\"\nLast-Modified: {now-1h}\nCache-Control: max-age=60\nContent-Type: text/x\nContent-Location: /l\nVary: X\n\nbody", want: "200"},
		{ask: "GET /\nIf-None-Match: \"x\", \"a\"", want: "304\nETag: W/\"a\"\nCache-Control: max-age=60\nContent-Location: /l\nVary: X\nDate: {now}\nAge: 0\n!Content-Type\n\n"},
		{ask: "GET /\nIf-None-Match: \"x\"", want: "200\n\nbody"},
		{ask: "GET /\nIf-Modified-Since: {now-1h}", want: "304\n\n"},
		{ask: "GET /\nIf-Modified-Since: {now-2h}", want: "200\n\nbody"},
		{ask: "GET /\nIf-None-Match: *", want: "304\n\n"},
		{ask: "HEAD /\nIf-None-Match: \"a\"", want: "304\n\n"},
	}},
	{"4.3.2 If-None-Match before If-Modified-Since", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nETag: \"a\"\nLast-Modified: {now-1h}\nCache-Control: max-age=60\n\nbody", want: "200"},
		{ask: "GET /\nIf-None-Match: \"x\"\nIf-Modified-Since: {now}", want: "200\n\nbody"},
	}},
	{"4.3.2 If-Modified-Since by Date where there is no Last-Modified", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nCache-Control: max-age=60\n\nbody", want: "200"},
		{ask: "GET /\nIf-Modified-Since: {now}", want: "304\n\n"},
		{ask: "GET /\nIf-Modified-Since: {now-1s}", want: "200\n\nbody"},
	}},
	{"4.3.2 MUST NOT evaluate what is for an origin", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nETag: \"a\"\nLast-Modified: {now-1h}\nCache-Control: max-age=60\n\nbody", want: "200"},
		{ask: "GET /\nIf-Match: \"x\"", want: "200\n\nbody"},
		{ask: "GET /\nIf-Unmodified-Since: {now-2h}", want: "200\n\nbody"},
		{ask: "GET /other\nIf-Match: \"x\"", origin: "412\n\n", sent: "If-Match: \"x\"", want: "412"},
		{ask: "PUT /\nIf-None-Match: *\n\nx", origin: "412\n\n", sent: "If-None-Match: *", want: "412"},
	}},
	{"4.3.2 MUST NOT evaluate conditions where nothing is stored", Policy{}, []step{
		{ask: "GET /\nIf-None-Match: \"a\"", origin: "200\nETag: \"a\"\nCache-Control: no-store\n\nbody", want: "200\n\nbody"},
		{ask: "GET /\nIf-None-Match: \"a\"", origin: "304\nETag: \"a\"", sent: "If-None-Match: \"a\"", want: "304\n\n"},
	}},
	{"4.3.2 evaluates only what would be 200", Policy{}, []step{
		{ask: "GET /", origin: "404\nDate: {now}\nETag: \"a\"\nCache-Control: max-age=60\n\ngone", want: "404"},
		{ask: "GET /\nIf-None-Match: \"a\"", want: "404\n\ngone"},
	}},
	{"4.3.2 If-Range is evaluated, by strong validators", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nETag: \"a\"\nCache-Control: max-age=60\n\nbody", want: "200"},
		{ask: "GET /\nRange: bytes=1-2\nIf-Range: \"a\"", want: "206\nETag: \"a\"\n\nod"},
		{ask: "GET /\nRange: bytes=1-2\nIf-Range: W/\"a\"", want: "200\n\nbody"},
	}},
	{"4.3.2 a 304 about our tag, not the client's, MUST become 200", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=1\n\nbody", want: "200"},
		{after: 2 * s, ask: "GET /\nIf-None-Match: \"old\"", origin: "304\nETag: \"a\"", sent: "If-None-Match: \"a\"", want: "200\nETag: \"a\"\n\nbody"},
	}},
	{"4.3.2 a 304 about our tag that is the client's too is 304", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=1\n\nbody", want: "200"},
		{after: 2 * s, ask: "GET /\nIf-None-Match: \"a\"", origin: "304\nETag: \"a\"", want: "304\nETag: \"a\"\n\n"},
	}},
	{"4.3.3 MUST use a full answer", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=1\n\nold", want: "200"},
		{after: 2 * s, ask: "GET /", origin: "200\nETag: \"b\"\nCache-Control: max-age=60\n\nnew", want: "200\n\nnew"},
		{ask: "GET /", want: "200\nETag: \"b\"\n\nnew"},
	}},
	{"4.3.3 a full answer that may not be stored is used, once", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=1\n\nold", want: "200"},
		{after: 2 * s, ask: "GET /", origin: "200\nCache-Control: no-store\n\nnew", want: "200\n\nnew"},
		{ask: "GET /", origin: "200\nCache-Control: no-store\n\nnewer", want: "200\n\nnewer"},
	}},
	{"4.3.3 5xx is forwarded", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=1\n\nold", want: "200"},
		{after: 2 * s, ask: "GET /", origin: "500\n\nbroken", want: "500\n\nbroken"},
		{ask: "GET /", origin: "304\nETag: \"a\"\nCache-Control: max-age=60", sent: "If-None-Match: \"a\"", want: "200\n\nold"},
	}},
	{"4.3.4 a 304 with another strong tag MUST update nothing", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=1\nX-A: old\n\nold", want: "200"},
		{after: 2 * s, ask: "GET /", origin: "304\nETag: \"b\"\nX-A: new\n---\n500\n\nx", sent: "If-None-Match: \"a\"", want: "500\n\nx"}, // asked again, without conditions
		{ask: "GET /", origin: "304\nETag: \"b\"\nX-A: new\n---\n200\nETag: \"b\"\nCache-Control: no-store\n\nnew", want: "200\n\nnew"},
		{ask: "GET /", origin: "304\nETag: \"a\"", want: "200\nX-A: old\n\nold"},
	}},
	{"4.3.4 a 304 with the same weak tag updates", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: W/\"a\"\nCache-Control: max-age=1\nX-A: old\n\nbody", want: "200"},
		{after: 2 * s, ask: "GET /", origin: "304\nETag: W/\"a\"\nX-A: new\nCache-Control: max-age=60", want: "200\nX-A: new\n\nbody"},
		{ask: "GET /", want: "200\nX-A: new\n\nbody"},
	}},
	{"4.3.4 a 304 begins a new age", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nETag: \"a\"\nCache-Control: max-age=10\n\nbody", want: "200"},
		{after: 20 * s, ask: "GET /", origin: "304\nETag: \"a\"\nDate: {now}", want: "200\nAge: 0\nDate: {now}\n\nbody"},
		{after: 9 * s, ask: "GET /", want: "200\nAge: 9\n\nbody"},
	}},
	{"4.3.4 a 304 that says no-store ends the storing", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=1\n\nbody", want: "200"},
		{after: 2 * s, ask: "GET /", origin: "304\nETag: \"a\"\nCache-Control: no-store", want: "200\nCache-Control: no-store\n\nbody"},
		{ask: "GET /", origin: fresh + "b", sent: "!If-None-Match", want: "200\n\nb"},
	}},
	{"4.3.5 HEAD updates a stored answer that it describes", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=1\nX-A: old\n\nbody", want: "200"},
		{after: 2 * s, ask: "HEAD /", origin: "200\nETag: \"a\"\nCache-Control: max-age=60\nX-A: new\nContent-Length: 4", want: "200\n\n"},
		{ask: "GET /", want: "200\nX-A: new\n\nbody"},
	}},
	{"4.3.5 HEAD makes stale what it does not describe", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=60\n\nbody", want: "200"},
		{ask: "HEAD /\nCache-Control: no-cache", origin: "200\nETag: \"b\"\nCache-Control: max-age=60\nContent-Length: 4", want: "200\n\n"},
		{ask: "GET /", origin: "200\nETag: \"b\"\nCache-Control: max-age=60\n\nanew", sent: "If-None-Match: \"a\"", want: "200\n\nanew"},
	}},
	{"4.3.5 HEAD of another length makes stale", Policy{}, []step{
		{ask: "GET /", origin: fresh + "body", want: "200"},
		{ask: "HEAD /\nCache-Control: no-cache", origin: "200\nCache-Control: max-age=60\nContent-Length: 5", want: "200\n\n"},
		{ask: "GET /", origin: fresh + "bodyy", want: "200\n\nbodyy"},
	}},
}

var invalidation = []conformanceCase{
	{"4.4 MUST invalidate the URI after an unsafe method", Policy{}, []step{
		{ask: "GET /a", origin: fresh + "a", want: "200"},
		{ask: "GET /b", origin: fresh + "b", want: "200"},
		{ask: "POST /a\n\nx", origin: "303\nLocation: /c\n\n", want: "303"},
		{ask: "GET /a", origin: fresh + "a2", want: "200\n\na2"},
		{ask: "GET /b", want: "200\n\nb"},
	}},
	{"4.4 a method whose safety is unknown invalidates", Policy{}, []step{
		{ask: "GET /", origin: fresh + "a", want: "200"},
		{ask: "FROB /", origin: "200\n\n", want: "200"},
		{ask: "GET /", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"4.4 errors do not invalidate, nor do safe methods", Policy{}, []step{
		{ask: "GET /", origin: fresh + "a", want: "200"},
		{ask: "DELETE /", origin: "403\n\n", want: "403"},
		{ask: "PUT /\n\nx", origin: "500\n\n", want: "500"},
		{ask: "OPTIONS /", origin: "204", want: "204"},
		{ask: "GET /", want: "200\n\na"},
	}},
	{"4.4 all variants are invalidated", Policy{}, []step{
		{ask: "GET /\nX-A: 1", origin: fresh[:len(fresh)-1] + "Vary: X-A\n\none", want: "200"},
		{ask: "GET /\nX-A: 2", origin: fresh[:len(fresh)-1] + "Vary: X-A\n\ntwo", want: "200"},
		{ask: "DELETE /", origin: "204", want: "204"},
		{ask: "GET /\nX-A: 1", origin: fresh + "none", want: "200\n\nnone"},
	}},
	{"4.4 Location and Content-Location of the same origin", Policy{}, []step{
		{ask: "GET /l?x=1", origin: fresh + "l", want: "200"},
		{ask: "GET /c", origin: fresh + "c", want: "200"},
		{ask: "POST /\n\nx", origin: "201\nLocation: http://example.org/l?x=1\nContent-Location: c\n\n", want: "201"},
		{ask: "GET /l?x=1", origin: fresh + "l2", want: "200\n\nl2"},
		{ask: "GET /c", origin: fresh + "c2", want: "200\n\nc2"},
	}},
	{"4.4 MUST NOT invalidate what another origin has", Policy{}, []step{
		{ask: "GET /l\nHost: other.org", origin: fresh + "l", want: "200"},
		{ask: "GET /l", origin: fresh + "ours", want: "200"},
		{ask: "POST /\n\nx", origin: "201\nLocation: http://other.org/l\nContent-Location: https://example.org/l\n\n", want: "201"},
		{ask: "GET /l", want: "200\n\nours"},
		{ask: "GET /l\nHost: other.org", want: "200\n\nl"},
	}},
}

var requestDirectives = []conformanceCase{
	{"5.2 MUST pass directives through", Policy{IgnoreClient: true}, []step{
		{ask: "GET /\nCache-Control: no-cache, foo=bar", origin: "200\nCache-Control: max-age=60, foo=\"bar\"\n\na",
			sent: "Cache-Control: no-cache, foo=bar", want: "200\nCache-Control: max-age=60, foo=\"bar\""},
		{ask: "GET /", want: "200\nCache-Control: max-age=60, foo=\"bar\"\n\na"},
	}},
	{"5.2.1.1 max-age", Policy{}, []step{
		{ask: "GET /", origin: fresh + "a", want: "200"},
		{after: 10 * s, ask: "GET /\nCache-Control: max-age=10", want: "200\n\na"},
		{ask: "GET /\nCache-Control: max-age=9", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"5.2.1.3 min-fresh", Policy{}, []step{
		{ask: "GET /", origin: fresh + "a", want: "200"},
		{after: 10 * s, ask: "GET /\nCache-Control: min-fresh=50", want: "200\n\na"},
		{ask: "GET /\nCache-Control: min-fresh=51", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"5.2.1.4 no-cache", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=60\n\na", want: "200"},
		{ask: "GET /\nCache-Control: no-cache", origin: "304\nETag: \"a\"", sent: "If-None-Match: \"a\"", want: "200\n\na"},
	}},
	{"5.2.1.5 no-store MUST NOT store", Policy{}, []step{
		{ask: "GET /\nCache-Control: no-store", origin: fresh + "a", want: "200\n\na"},
		{ask: "GET /", origin: fresh + "b", want: "200\n\nb"},
		{ask: "GET /\nCache-Control: no-store", want: "200\n\nb"},
	}},
	{"5.2.1.7 only-if-cached", Policy{}, []step{
		{ask: "GET /\nCache-Control: only-if-cached", want: "504"},
		{ask: "GET /", origin: fresh + "a", want: "200"},
		{ask: "GET /\nCache-Control: only-if-cached", want: "200\n\na"},
		{after: 61 * s, ask: "GET /\nCache-Control: only-if-cached", want: "504"},
	}},
	{"5.2.1 a policy may ignore clients", Policy{IgnoreClient: true}, []step{
		{ask: "GET /", origin: fresh + "a", want: "200"},
		{ask: "GET /\nCache-Control: no-cache, max-age=0, no-store", want: "200\n\na"},
	}},
	{"5.4 Pragma means nothing", Policy{}, []step{
		{ask: "GET /", origin: "200\nPragma: no-cache\nCache-Control: max-age=60\n\na", want: "200"},
		{ask: "GET /\nPragma: no-cache", want: "200\n\na"},
	}},
}

var responseDirectives = []conformanceCase{
	{"5.2.2.1 max-age quoted is read too", Policy{}, isStored("200\nCache-Control: max-age=\"60\"")},
	{"5.2.2.2 MUST NOT ignore must-revalidate when the origin is away", Policy{IfError: time.Hour}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=1, must-revalidate, stale-if-error=100\n\na", want: "200"},
		{ask: "GET /", want: "200\n\na"},
		{after: 2 * s, ask: "GET /", origin: "504\n\n", want: "504"},
	}},
	{"5.2.2.4 no-cache MUST NOT be used without validation", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=60, no-cache\n\na", want: "200"},
		{ask: "GET /", origin: "304\nETag: \"a\"\nCache-Control: max-age=60, no-cache", sent: "If-None-Match: \"a\"", want: "200\n\na"},
		{ask: "GET /", origin: "200\nETag: \"b\"\nCache-Control: max-age=60, no-cache\n\nb", sent: "If-None-Match: \"a\"", want: "200\n\nb"},
	}},
	{"5.2.2.4 no-cache with an empty list is meant as a whole", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=60, no-cache=\"\"\n\na", want: "200"},
		{ask: "GET /", origin: "304\nETag: \"a\"", want: "200\n\na"},
	}},
	{"5.2.2.8 proxy-revalidate", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=1, proxy-revalidate\n\na", want: "200"},
		{after: 2 * s, ask: "GET /\nCache-Control: max-stale=100", origin: "304\nETag: \"a\"", want: "200\n\na"},
	}},
	{"5.2.2.10 MUST NOT use what is stale by s-maxage", Policy{}, []step{
		{ask: "GET /", origin: "200\nETag: \"a\"\nCache-Control: max-age=100, s-maxage=1\n\na", want: "200"},
		{after: 2 * s, ask: "GET /", origin: "304\nETag: \"a\"", want: "200\n\na"},
	}},
	{"5.2.3 MUST ignore unknown directives", Policy{}, isStored("200\nCache-Control: frob, foo=\"no-store, x\", , max-age=60, no-storex")},
	{"5.3 MUST ignore Expires beside max-age or s-maxage", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nExpires: {now-1h}\nCache-Control: max-age=60\n\na", want: "200"},
		{ask: "GET /", want: "200\n\na"},
		{ask: "GET /s", origin: "200\nDate: {now}\nExpires: {now+1h}\nCache-Control: s-maxage=1\n\na", want: "200"},
		{after: 2 * s, ask: "GET /s", origin: fresh + "b", want: "200\n\nb"},
	}},
}

var companions = []conformanceCase{
	{"RFC 5861, 3 stale while it is validated", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nETag: \"a\"\nCache-Control: max-age=10, stale-while-revalidate=10\n\na", want: "200"},
		{after: 15 * s, ask: "GET /", origin: "200\nDate: {now}\nETag: \"b\"\nCache-Control: max-age=10, stale-while-revalidate=10\n\nb",
			sent: "If-None-Match: \"a\"", want: "200\nAge: 15\n\na"},
		{ask: "GET /", want: "200\nAge: 0\n\nb"},
	}},
	{"RFC 5861, 3 not after its time", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nETag: \"a\"\nCache-Control: max-age=10, stale-while-revalidate=10\n\na", want: "200"},
		{after: 20*s + 1, ask: "GET /", origin: "200\nCache-Control: max-age=10\n\nb", want: "200\n\nb"},
	}},
	{"RFC 5861, 3 goes on while the origin fails", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nCache-Control: max-age=10, stale-while-revalidate=100\n\na", want: "200"},
		{after: 15 * s, ask: "GET /", origin: "500\n\nx", want: "200\nAge: 15\n\na"},
		{after: 2 * s, ask: "GET /", origin: "500\n\nx", want: "200\nAge: 17\n\na"},
	}},
	{"RFC 5861, 4 stale if there is an error", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nCache-Control: max-age=600, stale-if-error=1200\n\nsuccess", want: "200"},
		{after: 900 * s, ask: "GET /", origin: "500\n\nfailure", want: "200\nCache-Control: max-age=600, stale-if-error=1200\nAge: 900\n\nsuccess"},
		{ask: "GET /", origin: "502\n\n", want: "200\n\nsuccess"},
		{ask: "GET /", origin: "503\n\n", want: "200\n\nsuccess"},
		{ask: "GET /", origin: "504\n\n", want: "200\n\nsuccess"},
		{ask: "GET /", origin: "501\n\nother", want: "501\n\nother"},
		{ask: "GET /", origin: "404\n\nother", want: "404\n\nother"},
		{after: 900*s + 1, ask: "GET /", origin: "500\n\nfailure", want: "500\n\nfailure"},
	}},
	{"RFC 5861, 4 of a request", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nCache-Control: max-age=10\n\na", want: "200"},
		{after: 15 * s, ask: "GET /\nCache-Control: stale-if-error=10", origin: "500\n\nx", want: "200\nAge: 15\n\na"},
		{ask: "GET /\nCache-Control: stale-if-error=4", origin: "500\n\nx", want: "500\n\nx"},
	}},
	{"RFC 5861 with s-maxage: only what the answer itself permits", Policy{WhileStale: time.Hour, IfError: time.Hour}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nCache-Control: s-maxage=10, stale-if-error=10\n\na", want: "200"},
		{after: 15 * s, ask: "GET /", origin: "500\n\nx", want: "200\nAge: 15\n\na"},
		{after: 6 * s, ask: "GET /", origin: "500\n\nx", want: "500\n\nx"},
	}},
	{"RFC 5861 by configuration", Policy{WhileStale: 10 * s, IfError: 30 * s}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nCache-Control: max-age=10\n\na", want: "200"},
		{after: 15 * s, ask: "GET /", origin: "500\n\nx", want: "200\nAge: 15\n\na"},
		{after: 15 * s, ask: "GET /", origin: "500\n\nx", want: "200\nAge: 30\n\na"},
		{after: 11 * s, ask: "GET /", origin: "500\n\nx", want: "500\n\nx"},
	}},
	{"RFC 9211, 2 a token, after the values that are there", Policy{Status: true}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nCache-Control: max-age=60\nCache-Status: Origin; hit\n\na",
			want: "200\nCache-Status: Origin; hit\nCache-Status: weir; fwd=uri-miss; ttl=60; stored"},
		{after: 10 * s, ask: "GET /", want: "200\nCache-Status: Origin; hit\nCache-Status: weir; hit; ttl=50\n\na"},
	}},
	{"5.1 what the origin just made has no Age", Policy{}, []step{
		{ask: "GET /a", origin: fresh + "a", want: "200\n!Age"},
		{ask: "GET /b", origin: "200\nDate: {now}\nAge: 5\nCache-Control: max-age=60\n\nb", want: "200\nAge: 5"},
	}},
	{"RFC 9211, 2 not on answers that weir makes itself", Policy{Status: true}, []step{
		{ask: "GET /\nCache-Control: only-if-cached", want: "504\n!Cache-Status"},
	}},
	{"RFC 9211, 2.1 304 and 206 out of the store are hits", Policy{Status: true}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nETag: \"a\"\nCache-Control: max-age=60\n\nbody", want: "200"},
		{ask: "GET /\nIf-None-Match: \"a\"", want: "304\nCache-Status: weir; hit; ttl=60\n\n"},
		{ask: "GET /\nRange: bytes=0-0", want: "206\nCache-Status: weir; hit; ttl=60\n\nb"},
	}},
	{"RFC 9211, 2.2 why it went forward", Policy{Status: true}, []step{
		{ask: "POST /\n\nx", origin: "200\n\n", want: "200\nCache-Status: weir; fwd=method"},
		{ask: "GET /\n\nbody", origin: "200\n\n", want: "200\nCache-Status: weir; fwd=bypass"},
		{ask: "GET /\nX-A: 1", origin: fresh[:len(fresh)-1] + "Vary: X-A\nETag: \"a\"\n\na", want: "200\nCache-Status: weir; fwd=uri-miss; ttl=60; stored"},
		{ask: "GET /\nX-A: 2", origin: "200\nCache-Control: no-store\n\na", want: "200\nCache-Status: weir; fwd=vary-miss"},
		{ask: "GET /\nX-A: 1\nCache-Control: no-cache", origin: "304\nDate: {now}\nETag: \"a\"", want: "200\nCache-Status: weir; fwd=request; fwd-status=304; ttl=60; stored\n\na"},
		{after: 61 * s, ask: "GET /\nX-A: 1", origin: "304\nDate: {now}\nETag: \"a\"", want: "200\nCache-Status: weir; fwd=stale; fwd-status=304; ttl=60; stored\n\na"},
	}},
	{"RFC 9211, 2.4 ttl is negative for what is stale", Policy{Status: true}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nCache-Control: max-age=10\n\na", want: "200"},
		{after: 22 * s, ask: "GET /\nCache-Control: max-stale", want: "200\nCache-Status: weir; hit; ttl=-12\n\na"},
	}},
	{"RFC 9213, 2.1 an empty field, or one with an error, MUST be ignored", Policy{}, []step{
		{ask: "GET /a", origin: "200\nCDN-Cache-Control:\nCache-Control: max-age=60\n\na", want: "200"},
		{ask: "GET /a", want: "200\n\na"},
		{ask: "GET /b", origin: "200\nCDN-Cache-Control: max-age=60, &\nCache-Control: no-store\n\na", want: "200"},
		{ask: "GET /b", origin: "200\nCDN-Cache-Control: no-store,\nCache-Control: max-age=60\n\nb", want: "200\n\nb"},
		{ask: "GET /b", want: "200\n\nb"},
	}},
	{"RFC 9213, 2.1 values of another type are not used", Policy{}, []step{
		{ask: "GET /a", origin: "200\nCDN-Cache-Control: max-age=\"60\"\n\na", want: "200"},
		{ask: "GET /a", origin: "200\n\nb", want: "200\n\nb"},
		{ask: "GET /b", origin: "200\nCDN-Cache-Control: max-age=60.5\n\na", want: "200"},
		{ask: "GET /b", origin: "200\n\nb", want: "200\n\nb"},
		{ask: "GET /c", origin: "200\nCDN-Cache-Control: max-age=60, no-store=?0\n\na", want: "200"},
		{ask: "GET /c", want: "200\n\na"},
	}},
	{"RFC 9213, 2.1 parameters are ignored", Policy{}, isStored("200\nCDN-Cache-Control: max-age=60;a=\"b\";c, x=(1 2);y\nCache-Control: no-store")},
	{"RFC 9213, 2.2 MUST ignore Cache-Control and Expires beside a target", Policy{}, []step{
		{ask: "GET /a", origin: "200\nDate: {now}\nCDN-Cache-Control: max-age=60\nCache-Control: no-store\nExpires: {now-1h}\n\na", want: "200"},
		{after: 59 * s, ask: "GET /a", want: "200\nCDN-Cache-Control: max-age=60\nCache-Control: no-store\n\na"},
		{ask: "GET /b", origin: "200\nDate: {now}\nCDN-Cache-Control: none\nCache-Control: max-age=60\nExpires: {now+1h}\n\na", want: "200"},
		{ask: "GET /b", origin: fresh + "b", want: "200\n\nb"},
	}},
	{"RFC 9213, 2.2 MUST use the first valid target", Policy{Targets: []string{"Weir-Cache-Control", "CDN-Cache-Control"}}, []step{
		{ask: "GET /a", origin: "200\nDate: {now}\nCDN-Cache-Control: no-store\nWeir-Cache-Control: max-age=60\n\na", want: "200"},
		{ask: "GET /a", want: "200\n\na"},
		{ask: "GET /b", origin: "200\nDate: {now}\nCDN-Cache-Control: max-age=60\nWeir-Cache-Control: \"\n\na", want: "200"},
		{ask: "GET /b", want: "200\n\na"},
	}},
	{"RFC 9213, 2.2 fields that are no targets MUST NOT matter, and are passed on", Policy{}, []step{
		{ask: "GET /", origin: "200\nCache-Control: max-age=60\nOther-CDN-Cache-Control: no-store\n\na", want: "200\nOther-CDN-Cache-Control: no-store"},
		{ask: "GET /", want: "200\nOther-CDN-Cache-Control: no-store\n\na"},
	}},
	{"RFC 9213, 2.2 MUST implement must-revalidate, no-store, no-cache and private", Policy{}, []step{
		{ask: "GET /s", origin: "200\nCDN-Cache-Control: no-store, max-age=60\n\na", want: "200"},
		{ask: "GET /s", origin: "200\n\nb", want: "200\n\nb"},
		{ask: "GET /p", origin: "200\nCDN-Cache-Control: private, max-age=60\n\na", want: "200"},
		{ask: "GET /p", origin: "200\n\nb", want: "200\n\nb"},
		{ask: "GET /n", origin: "200\nCDN-Cache-Control: no-cache, max-age=60\nETag: \"a\"\n\na", want: "200"},
		{ask: "GET /n", origin: "304\nETag: \"a\"", want: "200\n\na"},
		{ask: "GET /m", origin: "200\nCDN-Cache-Control: must-revalidate, max-age=1, stale-if-error=60\nETag: \"a\"\n\na", want: "200"},
		{after: 2 * s, ask: "GET /m", origin: "500\n\nx", want: "500\n\nx"},
	}},
	{"RFC 9213, 2.1 of a key that is there twice the last counts", Policy{}, []step{
		{ask: "GET /", origin: "200\nDate: {now}\nCDN-Cache-Control: max-age=60, max-age=1\n\na", want: "200"},
		{after: 2 * s, ask: "GET /", origin: fresh + "b", want: "200\n\nb"},
	}},
}
