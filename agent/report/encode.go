package report

import (
	"bytes"
	"encoding/json"
	"time"
)

// document is a report as JSON.
type document struct {
	Version int                `json:"version"`
	Backend string             `json:"backend"`
	Boot    string             `json:"boot"`
	Seq     uint64             `json:"seq"`
	Age     int64              `json:"age_ms"`
	Tau     int64              `json:"tau_ms"`
	Rate    float64            `json:"rate,omitzero"`
	Values  map[string]float64 `json:"values"`
	Missing map[string]string  `json:"missing,omitempty"`
	Status  statusDocument     `json:"status,omitzero"`
}

type statusDocument struct {
	Admin   Admin  `json:"admin,omitzero"`
	Oper    Oper   `json:"oper,omitzero"`
	Weight  *int   `json:"weight_percent,omitempty"`
	MaxConn *int   `json:"maxconn,omitempty"`
	Reason  string `json:"reason,omitzero"`
}

// Encode writes a report that Decode takes, or an error (RefusedError) that
// says why Decode would not. Ages are rounded up to milliseconds.
func Encode(r Report) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	values := r.Values
	if values == nil {
		values = map[string]float64{}
	}
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false) // six bytes for one
	err := e.Encode(document{
		Version: Version, Backend: r.Backend, Boot: r.Boot, Seq: r.Seq,
		Age: millis(r.Age), Tau: millis(r.Tau), Rate: r.Rate, Values: values, Missing: r.Missing,
		Status: statusDocument(r.Status),
	})
	if err != nil {
		return nil, err
	}
	if body.Len() > MaxBytes {
		return nil, refuse(TooLong, "%d bytes, the most is %d", body.Len(), MaxBytes)
	}
	return body.Bytes(), nil
}

func millis(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
