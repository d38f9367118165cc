package criu

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	// logLines is how many lines of a log an error shows, and logLineLimit how long each may be: what failed, and what followed from it.
	logLines     = 5
	logLineLimit = 300
	// logRead is how much of the end of a log is read: the errors of a failed run stand there.
	logRead = 1 << 16
)

// explain puts what CRIU says of a failure behind the error: the last errors of its log, or its last lines; without a log, what it printed.
func (w *worker) explain(err error, dir, log string) error {
	if err == nil {
		return nil
	}
	path := filepath.Join(dir, log)
	if lines := lastErrors(path); len(lines) > 0 {
		return fmt.Errorf("%w (%s: %s)", err, path, strings.Join(lines, "; "))
	}
	if text := strings.TrimSpace(string(w.output.data)); text != "" {
		return fmt.Errorf("%w (%s)", err, text)
	}
	return err
}

// lastErrors returns the last lines with errors in a log of CRIU's, or its last lines when there is none.
func lastErrors(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-logRead), io.SeekStart)
	}
	data, err := io.ReadAll(io.LimitReader(f, logRead))
	if err != nil {
		return nil
	}
	var all, bad []string
	for line := range bytes.Lines(data) {
		text := strings.TrimSpace(strings.ToValidUTF8(string(line), "?"))
		if text == "" {
			continue
		}
		if len(text) > logLineLimit {
			text = text[:logLineLimit] + "…"
		}
		all = append(all, text)
		if strings.Contains(text, "Error (") {
			bad = append(bad, text)
		}
	}
	if len(bad) == 0 {
		bad = all
	}
	return bad[max(0, len(bad)-logLines):]
}
