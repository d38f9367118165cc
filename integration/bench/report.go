package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// groups are the tables in the order of the document: figures by the beginning of their names.
var groups = []struct {
	title    string
	prefixes []string
}{
	{"One container, in ms", []string{"whole", "create", "start", "exit to event", "kill to exit", "delete", "exec whole", "start helper", "CPU of a whole run", "floor"}},
	{"Fifty containers, eight at a time", []string{"burst"}},
	{"Idle shims, in KiB each", []string{"idle", "wake-ups"}},
	{"Twenty execs a second beside idle containers", []string{"probes"}},
	{"Memory charged to the container's cgroup by its creation, in KiB", []string{"memory charged", "memory of its pages"}},
	{"Streams", []string{"stdout", "stdin"}},
	{"Command lines, in ms", []string{"command line"}},
	{"Beside many containers: a start against one beside ten", []string{"beside"}},
}

// peerOrder is the order of columns; a figure that a peer has not got is empty.
var peerOrder = []string{ours, before, runc, crun, null, bare}

func median(list []float64) float64 { return quantile(list, 0.5) }

func quantile(list []float64, q float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(list))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

// ratio is the median of ours / the peer's, pair by pair.
func (r *results) ratio(figure, peer string) (float64, bool) {
	a, b := r.Samples[figure][ours], r.Samples[figure][peer]
	var list []float64
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			list = append(list, a[i]/b[i])
		}
	}
	return median(list), len(list) > 0
}

// figuresOf returns the names of a group's figures, in the order of its prefixes.
func (r *results) figuresOf(prefixes []string) []string {
	var list []string
	for _, p := range prefixes {
		for _, f := range slices.Sorted(maps.Keys(r.Samples)) {
			if (f == p || strings.HasPrefix(f, p+",") || strings.HasPrefix(f, p+":") || (p == "idle" || p == "wake-ups" || p == "beside") && strings.HasPrefix(f, p+" ")) && !slices.Contains(list, f) {
				list = append(list, f)
			}
		}
	}
	return list
}

// tables is the measured part of the document.
func (r *results) tables() string {
	var b strings.Builder
	b.WriteString(r.targetTable())
	for _, g := range groups {
		figures := r.figuresOf(g.prefixes)
		if len(figures) == 0 {
			continue
		}
		columns := slices.DeleteFunc(slices.Clone(peerOrder), func(p string) bool {
			return !slices.ContainsFunc(figures, func(f string) bool { return len(r.Samples[f][p]) > 0 })
		})
		fmt.Fprintf(&b, "### %s\n\n| figure | %s | ours / runc | ours / crun | ours / null |\n|---|%s---|---|---|\n", g.title, strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
		for _, f := range figures {
			fmt.Fprintf(&b, "| %s |", f)
			for _, p := range columns {
				b.WriteString(" " + cell(r.Samples[f][p]) + " |")
			}
			for _, p := range []string{runc, crun, null} {
				if v, ok := r.ratio(f, p); ok {
					fmt.Fprintf(&b, " %.2f |", v)
				} else {
					b.WriteString(" |")
				}
			}
			b.WriteString("\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// cell is the median, and the 99th percentile where there are enough figures for one.
func cell(list []float64) string {
	const enough = 10
	switch {
	case len(list) == 0:
		return ""
	case len(list) < enough:
		return number(median(list))
	}
	return number(median(list)) + " (" + number(quantile(list, 0.99)) + ")"
}

func number(v float64) string {
	if math.Abs(v) >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// describeText says with what and where it was measured.
func (r *results) describeText() string {
	var list []string
	for _, m := range []map[string]string{r.Versions, r.Machine} {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			list = append(list, k+": "+m[k])
		}
	}
	return strings.Join(list, "; ") + ".\n" + r.Settings + ". In a cell: the median (99th percentile); a ratio is the median of the pairs' ratios.\n"
}

// The document's measured part stands between these lines; the rest of it is written by hand.
const (
	beginMark = "<!-- bench: begin -->"
	endMark   = "<!-- bench: end -->"
)

// document replaces the measured part of performance.md in dir, and the plots and raw figures beside it.
func (r *results) document(dir string) error {
	path := filepath.Join(dir, "performance.md")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(data), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok1 || !ok2 {
		return errors.New(path + " has no place for the figures: " + beginMark + " and " + endMark)
	}
	plots, err := r.plots(filepath.Join(dir, "performance"))
	if err != nil {
		return err
	}
	text := before + beginMark + "\n" + r.describeText() + "\n" + plots + "\n" + r.tables() + endMark + after
	return os.WriteFile(path, []byte(text), 0o644)
}
