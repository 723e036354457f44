package report

import "fmt"

// Refusal is why something was not taken. Reports are counted by it.
type Refusal string

// Refusals.
const (
	Malformed    Refusal = "malformed"       // no JSON document, or another type than the field has
	TooLong      Refusal = "too_long"        // more bytes than MaxBytes
	OtherVersion Refusal = "version"         // of a version that is not known here
	UnknownField Refusal = "unknown_field"   // or an unknown word of an agent-check
	Duplicate    Refusal = "duplicate"       // a field or word twice
	Missing      Refusal = "missing_field"   // a field that must be there, or an agent-check that says nothing
	NotFinite    Refusal = "not_finite"      // NaN or infinite
	Negative     Refusal = "negative"        // below zero
	TooLarge     Refusal = "too_large"       // over what the field can be
	TooMany      Refusal = "too_many_values" // more values than MaxValues
	BadName      Refusal = "bad_name"        // a metric, boot id or identity that is none
	BadText      Refusal = "bad_text"        // characters that do not print
	BadState     Refusal = "bad_state"       // a state word in a place where it means nothing
)

// Refusals are all of them, for who counts by reason.
func Refusals() []Refusal {
	return []Refusal{
		Malformed, TooLong, OtherVersion, UnknownField, Duplicate, Missing, NotFinite, Negative,
		TooLarge, TooMany, BadName, BadText, BadState,
	}
}

// RefusedError says what was not taken and why.
type RefusedError struct {
	Why    Refusal
	Detail string // names the field and its value
}

func (e *RefusedError) Error() string { return "report refused: " + e.Detail }

func refuse(why Refusal, format string, args ...any) error {
	return &RefusedError{Why: why, Detail: fmt.Sprintf(format, args...)}
}
