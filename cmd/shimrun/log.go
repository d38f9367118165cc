package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// logger writes lines as logrus does, which tools that read a runtime's log parse.
type logger struct {
	w      io.Writer
	json   bool
	debugs bool
	file   bool // it goes to a file
}

func (l *logger) open(path, format string, debug bool) error {
	l.w, l.debugs = os.Stderr, debug
	switch format {
	case "text":
	case "json":
		l.json = true
	default:
		return fmt.Errorf("invalid log-format: %q", format)
	}
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	l.w, l.file = f, true
	return nil
}

func (l *logger) line(level, msg string) {
	if l.w == nil {
		l.w = os.Stderr // the options were not read yet
	}
	now := time.Now().Format(time.RFC3339)
	if l.json {
		line, _ := json.Marshal(struct { // three strings can be encoded
			Level string `json:"level"`
			Msg   string `json:"msg"`
			Time  string `json:"time"`
		}{level, msg, now})
		_, _ = l.w.Write(append(line, '\n')) // who would be told
		return
	}
	_, _ = fmt.Fprintf(l.w, "time=%s level=%s msg=%s\n", strconv.Quote(now), level, strconv.Quote(msg))
}

func (l *logger) debug(format string, args ...any) {
	if l.debugs {
		l.line("debug", fmt.Sprintf(format, args...))
	}
}

func (l *logger) warn(format string, args ...any) { l.line("warning", fmt.Sprintf(format, args...)) }

// fatal logs what a command failed with; a person reads it on standard error too.
func (l *logger) fatal(err error) {
	l.line("error", err.Error())
	if l.file {
		fmt.Fprintln(os.Stderr, err)
	}
}
