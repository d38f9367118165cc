package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Measures of a plot in pixels.
const (
	plotWidth, labelWidth, valueWidth = 900, 300, 110
	barHeight, barGap, groupGap       = 14, 2, 12
	titleHeight                       = 26
)

var colours = map[string]string{ours: "#1b7f5c", runc: "#8a8f98", crun: "#c0832f", null: "#5b7db1", bare: "#333333"}

// plotted are the plots: a file and its figures, which have one unit.
var plotted = []struct {
	file, title string
	figures     []string
}{
	{"life.svg", "One container, median ms", []string{"whole", "create", "start", "delete", "exec whole", "kill to exit", "start helper"}},
	{"burst.svg", "Fifty containers, eight at a time: CPU ms a container", []string{"burst, CPU ms a container, all", "burst, CPU ms a container, without containerd's own"}},
	{"idle.svg", "An idle shim, KiB", []string{"idle private, 100 containers", "idle PSS, 100 containers", "idle RSS, 100 containers"}},
}

// plots writes the plots as SVG into dir and returns the lines that show them.
func (r *results) plots(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	var text strings.Builder
	for _, p := range plotted {
		svg := r.bars(p.title, p.figures)
		if svg == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, p.file), []byte(svg), 0o644); err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "![%s](%s/%s)\n", p.title, filepath.Base(dir), p.file)
	}
	return text.String(), nil
}

// bars draws a bar for each peer of each figure; "" without figures.
func (r *results) bars(title string, figures []string) string {
	var most float64
	for _, f := range figures {
		for _, list := range r.Samples[f] {
			most = max(most, median(list))
		}
	}
	if most == 0 {
		return ""
	}
	var b strings.Builder
	y := titleHeight
	for _, f := range figures {
		if len(r.Samples[f]) == 0 {
			continue
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-8, y+barHeight-3, f)
		for _, p := range peerOrder {
			if len(r.Samples[f][p]) == 0 {
				continue
			}
			v := median(r.Samples[f][p])
			w := v / most * (plotWidth - labelWidth - valueWidth)
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, labelWidth, y, w, barHeight, colours[p])
			fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s %s</text>`+"\n", labelWidth+w+4, y+barHeight-3, number(v), p)
			y += barHeight + barGap
		}
		y += groupGap
	}
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`, plotWidth, y)
	return head + fmt.Sprintf("\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"8\" y=\"16\" font-size=\"13\">%s</text>\n", title) + b.String() + "</svg>\n"
}
