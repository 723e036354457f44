package lab

import (
	"bufio"
	"fmt"
	"io"
)

// Geometry of a plot, in pixels: a row per result with two panels.
const (
	panelWidth  = 420
	panelHeight = 110
	margin      = 40
	rowHeight   = panelHeight + 45
	plotEvery   = 3 // seconds
)

// Plot writes an SVG document: for each result the utilisation of the backends
// and their weights, over time.
func Plot(to io.Writer, results []Result) error {
	w := bufio.NewWriter(to)
	width, height := 2*panelWidth+3*margin, rowHeight*len(results)+margin
	fmt.Fprintf(w, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"11\">\n", width, height)
	fmt.Fprintf(w, "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n", width, height)
	for i, r := range results {
		top := margin + i*rowHeight
		fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%s: %s</text>\n", margin, top-22, r.Scenario, r.Algorithm)
		panel(w, margin, top, "utilisation", 1, r.Series.Utilisation, 5)
		panel(w, panelWidth+2*margin, top, "weight over configured", 2, r.Series.Weight, 1)
	}
	fmt.Fprintln(w, "</svg>")
	return w.Flush()
}

// panel draws one line per backend; each point is the mean of some seconds.
func panel(w io.Writer, left, top int, title string, high float64, series [][]float64, seconds int) {
	fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\" fill=\"#666\">%s, 0 to %g; %d s</text>\n", left, top-8, title, high, len(series))
	fmt.Fprintf(w, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#bbb\"/>\n", left, top, panelWidth, panelHeight)
	if len(series) == 0 {
		return
	}
	for b := range series[0] {
		fmt.Fprintf(w, "<polyline fill=\"none\" stroke=\"hsl(%d,65%%,45%%)\" points=\"", b*360/len(series[0]))
		for t := 0; t < len(series); t += plotEvery {
			value := mean(series[max(0, t+1-seconds) : t+1])[b]
			x := float64(left) + float64(t)*panelWidth/float64(len(series))
			fmt.Fprintf(w, "%.0f,%.1f ", x, float64(top)+panelHeight*(1-min(value/high, 1)))
		}
		fmt.Fprintln(w, "\"/>")
	}
}
