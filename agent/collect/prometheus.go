package collect

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"weir/agent/report"
)

const (
	maxExposition = 16 << 20 // bytes of a page that are read
	maxKept       = 1 << 20  // bytes of it that are about the series
	maxLine       = 64 << 10
)

// Prometheus reads one series, or the sum of several, from a page of metrics.
type Prometheus struct {
	metric  string
	url     string
	series  Selector
	timeout time.Duration
	client  *http.Client
	counter *counters[string]
}

// NewPrometheus makes the collector of custom.NAME, which is the sum of the
// series that are selected; as a counter, what the sum rose by per second.
func NewPrometheus(name, url string, series Selector, counter bool, timeout time.Duration) *Prometheus {
	p := &Prometheus{metric: report.Custom + name, url: url, series: series, timeout: timeout, client: &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConns: 1, MaxResponseHeaderBytes: maxLine},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if counter {
		p.counter = &counters[string]{}
	}
	return p
}

// Name is the metric's.
func (p *Prometheus) Name() string { return p.metric }

// Collect fetches the page.
func (p *Prometheus) Collect(ctx context.Context, now time.Time) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	response, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", p.url, response.Status)
	}
	v, err := p.series.sum(io.LimitReader(response.Body, maxExposition))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.url, err)
	}
	return perSecond(p.counter, now, map[string]float64{p.metric: v}), nil
}

// Selector names series: a metric and labels that must have these values.
type Selector struct {
	metric string
	labels map[string]string
}

// ParseSelector reads a selector as Prometheus writes a series, such as
// requests_total{code="200"}.
func ParseSelector(text string) (Selector, error) {
	blank := strings.ContainsAny(text, " \t") && !strings.HasSuffix(text, "}") // a value or a timestamp
	if blank || strings.ContainsAny(text, "\r\n#") {
		return Selector{}, fmt.Errorf("series %.80q is not like requests_total{code=\"200\"}", text)
	}
	families, err := parseExposition(text + " 1\n")
	if err != nil || len(families) != 1 {
		return Selector{}, fmt.Errorf("series %.80q is not like requests_total{code=\"200\"}", text)
	}
	s := Selector{labels: map[string]string{}}
	for name, family := range families {
		s.metric = name
		for _, l := range family.GetMetric()[0].GetLabel() {
			s.labels[l.GetName()] = l.GetValue()
		}
	}
	return s, nil
}

// sum adds the series of a page. Only lines about the metric are parsed, so
// that a large page costs little.
func (s Selector) sum(page io.Reader) (float64, error) {
	var kept bytes.Buffer
	lines := bufio.NewScanner(page)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if !s.names(lines.Bytes()) {
			continue
		}
		if kept.Len()+len(lines.Bytes()) >= maxKept {
			return 0, fmt.Errorf("%s has more than %d bytes of series", s.metric, maxKept)
		}
		kept.Write(lines.Bytes())
		kept.WriteByte('\n')
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	families, err := parseExposition(kept.String())
	if err != nil {
		return 0, err
	}
	sum, found := 0.0, false
	for _, m := range families[s.metric].GetMetric() {
		if s.selects(m) {
			sum, found = sum+m.GetUntyped().GetValue(), true
		}
	}
	if !found {
		return 0, errors.New("no such series")
	}
	return sum, nil
}

// names reports whether a line is a sample of the metric.
func (s Selector) names(line []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimLeft(line, " \t"), []byte(s.metric))
	return ok && len(rest) > 0 && (rest[0] == '{' || rest[0] == ' ' || rest[0] == '\t')
}

func (s Selector) selects(m *dto.Metric) bool {
	matches := 0
	for _, l := range m.GetLabel() {
		if want, ok := s.labels[l.GetName()]; ok && want == l.GetValue() {
			matches++
		}
	}
	return matches == len(s.labels)
}

// parseExposition reads samples without their TYPE lines: all are untyped.
func parseExposition(text string) (map[string]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	return parser.TextToMetricFamilies(strings.NewReader(text))
}
