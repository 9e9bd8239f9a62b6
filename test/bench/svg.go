package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
)

// A panel is one small chart of the drawing.
type panel struct {
	title    string
	scenario string
	metric   metric
	byHops   bool // lines over the number of internal hops, not bars
}

func panels() []panel {
	return []panel{
		{"Bulk, 1 connection", "bulk-down-1", cpuPerGB, false},
		{"Bulk, 8 connections", "bulk-down-8", cpuPerGB, false},
		{"Messages, 50 connections", "messages-50", cpuPerMsg, false},
		{"Messages, 50 connections", "messages-50", msgP99, false},
		{"Connect, one byte, close", "connections", cpuPerConn, false},
		{"Messages beside 8 bulk streams", "mix", mixMessages, false},
		{"Idle connection", "idle", rssPerConn, false},
		{"Start", "start", firstAnswer, false},
		{"After the start", "start", startRSS, false},
		{"Internal hops: bulk, 1 connection", "bulk-down-1", cpuPerGB, true},
		{"Internal hops: messages", "messages-50", cpuPerMsg, true},
		{"Internal hops: idle connection", "idle", rssPerConn, true},
	}
}

// The drawing's measures, in pixels.
const (
	panelWidth, panelHeight = 340, 210
	columns                 = 3
	headHeight              = 64
	barLeft, barRight       = 100, 250
	plotLeft, plotRight     = 52, 250
	plotTop, plotBottom     = 44, 176
)

const style = `text{font:12px system-ui,sans-serif;fill:#24292f}
.title{font-weight:600}.head{font-size:18px;font-weight:600}.small{font-size:11px;fill:#57606a}
.axis{stroke:#8c959f;stroke-width:1}.spread{stroke:#24292f;stroke-width:1}
.ginnel{fill:#0b7a75;stroke:#0b7a75}.ginnel-pipes{fill:#6dbdb5;stroke:#6dbdb5}.envoy{fill:#b0449c;stroke:#b0449c}
.haproxy{fill:#3f74ba;stroke:#3f74ba}.haproxy-splice{fill:#86aee0;stroke:#86aee0}.nginx{fill:#5e9a3c;stroke:#5e9a3c}.other{fill:#c98a1b;stroke:#c98a1b}
polyline{fill:none!important;stroke-width:2}rect,circle{stroke:none!important}
.paper{fill:#fff}
@media (prefers-color-scheme:dark){.paper{fill:#0d1117}text{fill:#e6edf3}.small{fill:#9198a1}.spread{stroke:#e6edf3}}
`

// svg draws the report. The drawing needs no other file.
func (r *report) svg() []byte {
	var drawn []panel
	for _, p := range panels() {
		if len(r.series(p)) > 0 {
			drawn = append(drawn, p)
		}
	}
	rows := (len(drawn) + columns - 1) / columns
	w, h := columns*panelWidth+20, headHeight+rows*panelHeight+10
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">`+"\n<style>%s</style>\n", w, h, w, h, style)
	fmt.Fprintf(&b, `<rect class="paper" width="%d" height="%d"/>`+"\n", w, h)
	label(&b, "head", 16, 28, "start", "ginnel beside its peers: less is better in all charts")
	label(&b, "small", 16, 48, "start", fmt.Sprintf("%s. %s. Medians of %d rounds; lines: least and most.", r.Date, r.Machine, r.Rounds))
	for i, p := range drawn {
		fmt.Fprintf(&b, `<g transform="translate(%d,%d)">`+"\n", 10+i%columns*panelWidth, headHeight+i/columns*panelHeight)
		label(&b, "title", 6, 16, "start", p.title)
		label(&b, "small", 6, 32, "start", p.metric.Key+", "+p.metric.Unit)
		if p.byHops {
			r.lines(&b, p)
		} else {
			r.bars(&b, p)
		}
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// A point is one median of a panel.
type point struct {
	name, family string
	hops         int
	spread
}

// series are the points of a panel in the order of the tables.
func (r *report) series(p panel) []point {
	var all []point
	for _, name := range ordered(r.subjects(p.scenario)) {
		family, hops := unchained(name)
		if name == direct || (!p.byHops && hops > 0) || (p.byHops && !r.hasHops(p.scenario, family)) {
			continue
		}
		if s, ok := r.spread(p.scenario, name, p.metric.Key); ok {
			all = append(all, point{name, family, hops, s})
		}
	}
	return all
}

func (r *report) hasHops(scenario, family string) bool {
	for _, name := range r.subjects(scenario) {
		if f, n := unchained(name); f == family && n > 0 {
			return true
		}
	}
	return false
}

func (r *report) bars(b *bytes.Buffer, p panel) {
	points := r.series(p)
	var most float64
	for _, x := range points {
		most = max(most, x.max)
	}
	step := min(26, float64(plotBottom-plotTop+20)/float64(len(points)))
	at := func(v float64) float64 {
		return barLeft + max(v, 0)/max(most, math.SmallestNonzeroFloat64)*(barRight-barLeft)
	}
	for i, x := range points {
		y := plotTop + float64(i)*step
		label(b, "", barLeft-6, y+step*0.62, "end", x.name)
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="%.1f" width="%.1f" height="%.1f"/>`+"\n", class(x.family), barLeft, y+2, at(x.median)-barLeft, step-6)
		fmt.Fprintf(b, `<line class="spread" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`+"\n", at(x.min), at(x.max), y+step/2-1, y+step/2-1)
		label(b, "small", at(x.max)+6, y+step*0.62, "start", digits(x.median))
	}
}

func (r *report) lines(b *bytes.Buffer, p panel) {
	points := r.series(p)
	var most float64
	far := 1
	for _, x := range points {
		most, far = max(most, x.median), max(far, x.hops)
	}
	atX := func(hops int) float64 { return plotLeft + float64(hops)/float64(far)*(plotRight-plotLeft) }
	atY := func(v float64) float64 {
		return plotBottom - max(v, 0)/max(most, math.SmallestNonzeroFloat64)*(plotBottom-plotTop)
	}
	fmt.Fprintf(b, `<path class="axis" fill="none" d="M%d %dV%dH%d"/>`+"\n", plotLeft, plotTop, plotBottom, plotRight)
	label(b, "small", plotLeft-6, plotTop+4, "end", digits(most))
	label(b, "small", plotLeft-6, plotBottom+4, "end", "0")
	families := map[string][]point{}
	var names []string
	for _, x := range points {
		if families[x.family] == nil {
			names = append(names, x.family)
		}
		families[x.family] = append(families[x.family], x)
		label(b, "small", atX(x.hops), plotBottom+14, "middle", fmt.Sprint(x.hops))
	}
	for _, name := range names {
		line := ""
		for _, x := range families[name] {
			line += fmt.Sprintf("%.1f,%.1f ", atX(x.hops), atY(x.median))
			fmt.Fprintf(b, `<circle class="%s" cx="%.1f" cy="%.1f" r="3"/>`+"\n", class(name), atX(x.hops), atY(x.median))
		}
		fmt.Fprintf(b, `<polyline class="%s" points="%s"/>`+"\n", class(name), line)
	}
	legend(b, names, families, atY)
}

// legend names each line at its end, far enough apart to be read.
func legend(b *bytes.Buffer, names []string, families map[string][]point, atY func(float64) float64) {
	var taken []float64
	for _, name := range names {
		line := families[name]
		y := atY(line[len(line)-1].median) + 4
		for i := 0; i < len(taken); i++ {
			if math.Abs(taken[i]-y) < 13 {
				y, i = taken[i]-13, -1
			}
		}
		taken = append(taken, y)
		label(b, "", plotRight+8, y, "start", name)
	}
}

// class is the style of a family; variants share one.
func class(family string) string {
	switch family {
	case "ginnel", "ginnel-pipes", "envoy", "haproxy", "haproxy-splice", "nginx":
		return family
	}
	return "other"
}

func label(b *bytes.Buffer, class string, x, y float64, anchor, text string) {
	fmt.Fprintf(b, `<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">`, class, x, y, anchor)
	xml.EscapeText(b, []byte(text))
	b.WriteString("</text>\n")
}
