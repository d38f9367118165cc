// Command bench compares io.example.shim.v2 with containerd's own shim over runc and over crun, with a shim that does nothing, and with a bare C
// program, in turn, through the same containerd, in one run. It keeps every single figure in a JSON file and writes the tables and plots of
// docs/performance.md from it. Machines are noisy: medians, and ratios of the pairs of one round, count.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"

	"example.io/shim/integration/daemon"
)

// settings are the command line.
type settings struct {
	rounds, idle, pairs   int
	many                  int
	before                string
	probe, quiet          time.Duration
	containerd            int
	only, names           string
	out, docs, runc, crun string
	runcShim              string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == drainArg { // the logger of binary://
		os.Exit(drain())
	}
	var s settings
	quick := flag.Bool("quick", false, "few rounds: to see that it works, and large differences")
	fromRaw := flag.Bool("report", false, "measure nothing: write the document from -out")
	flag.IntVar(&s.rounds, "rounds", 40, "rounds of each life")
	flag.IntVar(&s.pairs, "pairs", 5, "rounds of bursts and streams")
	flag.IntVar(&s.idle, "idle", 100, "most idle containers")
	flag.IntVar(&s.many, "many", 1000, "idle containers beside which a start is to cost the same")
	flag.DurationVar(&s.probe, "probe", 60*time.Second, "how long execs are made beside idle containers")
	flag.DurationVar(&s.quiet, "quiet", 20*time.Second, "how long wake-ups of idle shims are counted")
	flag.IntVar(&s.containerd, "containerd", 2, "1 for Debian's containerd, 2 for the newest")
	flag.StringVar(&s.only, "only", "life,floor,helper,burst,idle,stdio,cli,many", "what to measure")
	flag.StringVar(&s.names, "peers", ours+","+runc+","+crun+","+null, "which runtimes; ours must be among them")
	flag.StringVar(&s.out, "out", filepath.Join(daemon.Top(), ".cache", "bench.json"), "the raw figures")
	flag.StringVar(&s.docs, "docs", "", "write tables and plots into this folder's performance.md")
	flag.StringVar(&s.runcShim, "runc-shim", first(cached("containerd-shim-runc-v2"), "/usr/bin/containerd-shim-runc-v2"), "containerd's shim")
	flag.StringVar(&s.runc, "runc", first(cached("runc"), "runc"), "runc's program")
	flag.StringVar(&s.crun, "crun", first(cached("crun"), "crun"), "crun's program")
	flag.StringVar(&s.before, "before", "", "another build of ours, to compare with: the path of its binary")
	flag.Parse()
	if *quick {
		given := map[string]bool{}
		flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, value := range map[string]string{"rounds": "8", "pairs": "2", "idle": "20", "probe": "5s", "quiet": "3s", "many": "100"} {
			if !given[name] {
				_ = flag.Set(name, value) // a flag of ours with a value of ours
			}
		}
	}
	if err := run(s, *fromRaw); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func cached(name string) string { return filepath.Join(daemon.Top(), ".cache", "bin", name) }

// first is the first of the paths that is a file; the last is taken as it is.
func first(paths ...string) string {
	for _, p := range paths[:len(paths)-1] {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return paths[len(paths)-1]
}

// results is the JSON file.
type results struct {
	Machine  map[string]string
	Versions map[string]string
	Settings string
	// Samples[figure][peer] are in the order of the rounds: those with the same index are a pair.
	Samples map[string]map[string][]float64
}

func (r *results) add(figure, peer string, v float64) {
	if r.Samples[figure] == nil {
		r.Samples[figure] = map[string][]float64{}
	}
	r.Samples[figure][peer] = append(r.Samples[figure][peer], v)
}

func run(s settings, fromRaw bool) error {
	r := &results{Samples: map[string]map[string][]float64{}}
	if fromRaw {
		data, err := os.ReadFile(s.out)
		if err == nil {
			err = json.Unmarshal(data, r)
		}
		if err != nil {
			return err
		}
	} else {
		measured := measureAll(s, r)
		data, err := json.MarshalIndent(r, "", " ")
		if err == nil {
			err = os.WriteFile(s.out, data, 0o644)
		}
		if err := errors.Join(measured, err); err != nil { // what was measured before is in the file
			return err
		}
	}
	fmt.Print(r.tables())
	if s.docs == "" {
		return nil
	}
	return r.document(s.docs)
}

// bench is what the measurements share.
type bench struct {
	settings
	*results
	d     *daemon.Daemon
	img   client.Image
	peers []peer
	group *group
	seq   int
	// states is where command lines keep containers.
	states string
}

// parts of a run, by name.
var parts = []struct {
	name string
	f    func(*bench) error
}{
	{"life", (*bench).lives}, {"floor", (*bench).floor}, {"helper", (*bench).helpers}, {"burst", (*bench).bursts}, {"idle", (*bench).idles}, {"stdio", (*bench).streams},
	{"cli", (*bench).commandLines}, {"many", (*bench).besideMany},
}

func measureAll(s settings, r *results) (err error) {
	b := &bench{settings: s, results: r}
	if b.peers, err = peers(s); err != nil {
		return err
	}
	if b.group, err = newGroup(); err != nil {
		return err
	}
	defer b.group.remove()
	b.d, err = daemon.Start(daemon.Versions()[s.containerd-1], "PATH="+filepath.Join(daemon.Top(), "bin")+":"+os.Getenv("PATH"))
	if err != nil {
		return err
	}
	defer b.d.Close()
	// Shims inherit the group from here on, and what they start.
	if err := b.group.add(b.d.Pid()); err != nil {
		return err
	}
	if b.img, err = b.d.Client.GetImage(daemon.Context(), daemon.Image); err != nil {
		return err
	}
	r.describe(b)
	for _, p := range parts {
		if !strings.Contains(","+s.only+",", ","+p.name+",") {
			continue
		}
		begin := time.Now()
		if err := p.f(b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Fprintf(os.Stderr, "bench: %s took %.0f s\n", p.name, time.Since(begin).Seconds())
	}
	return nil
}
