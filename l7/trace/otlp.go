package trace

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
)

// encode writes an ExportTraceServiceRequest in OTLP's JSON: ids in hexadecimal,
// 64-bit numbers as text.
func (t *Tracer) encode(batch []*span) []byte {
	b := append([]byte(`{"resourceSpans":[{"resource":{"attributes":`), t.resource...)
	b = append(b, `},"scopeSpans":[{"scope":{"name":"weir"},"spans":[`...)
	for i, s := range batch {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.append(b)
	}
	return append(b, "]}]}]}"...)
}

const (
	kindServer  = 2 // SPAN_KIND_SERVER
	statusError = 2 // STATUS_CODE_ERROR
)

func (s *span) append(b []byte) []byte {
	b = hex.AppendEncode(append(b, `{"traceId":"`...), s.context.Trace[:])
	b = hex.AppendEncode(append(b, `","spanId":"`...), s.context.Span[:])
	if s.parent != [8]byte{} {
		b = hex.AppendEncode(append(b, `","parentSpanId":"`...), s.parent[:])
	}
	b = appendString(append(b, `","name":`...), s.name)
	b = strconv.AppendInt(append(b, `,"kind":`...), kindServer, 10)
	b = strconv.AppendInt(append(b, `,"startTimeUnixNano":"`...), s.began.UnixNano(), 10)
	b = strconv.AppendInt(append(b, `","endTimeUnixNano":"`...), s.ended.UnixNano(), 10)
	b = appendAttributes(append(b, `","attributes":`...), s.attributes...)
	if s.failed {
		b = strconv.AppendInt(append(b, `,"status":{"code":`...), statusError, 10)
		b = append(b, '}')
	}
	return append(b, '}')
}

// appendAttributes leaves out what is empty.
func appendAttributes(b []byte, all ...attribute) []byte {
	b = append(b, '[')
	first := true
	for _, a := range all {
		if a.value == "" {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(append(b, `{"key":`...), a.key)
		if _, err := strconv.Atoi(a.value); err == nil && isNumber(a.key) {
			b = append(append(append(b, `,"value":{"intValue":"`...), a.value...), `"}}`...)
			continue
		}
		b = append(appendString(append(b, `,"value":{"stringValue":`...), a.value), "}}"...)
	}
	return append(b, ']')
}

// isNumber tells the attributes whose values are integers by convention.
func isNumber(key string) bool { return key == "http.response.status_code" || key == "weir.attempts" }

func appendString(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...) // no string gives an error
	}
	return append(b, text...)
}
