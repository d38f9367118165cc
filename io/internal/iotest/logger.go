package iotest

import (
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// loggerArg is the first argument of a test binary that is to be a logger.
const loggerArg = "be-a-logger"

// LoggerURI is a URI of this test binary as a logger.
//
//	copy    writes a byte to fd 5 and copies fd 3 and 4 to the files out + ".1" and ".2"
//	eof     the same, but closes fd 5 only
//	die     exits with status 3
//	mute    never says that it is ready
//	deaf    is ready, ignores SIGTERM and never ends
//	polite  is ready, reads nothing, writes out + ".term" on SIGTERM and ends
func LoggerURI(scheme, mode, out string) string {
	return scheme + "://" + self() + "?" + loggerArg + "=" + mode + "&out=" + out
}

// LoggerArgs is the same as arguments.
func LoggerArgs(mode, out string) (path string, args []string) {
	return self(), []string{loggerArg, mode, "out", out}
}

func self() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

// BeLogger is to be called first by TestMain: it does not return in a process that was started as a logger.
func BeLogger() {
	if len(os.Args) < 5 || os.Args[1] != loggerArg {
		return
	}
	mode, out := os.Args[2], os.Args[4]
	ready := os.NewFile(5, "ready")
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	switch mode {
	case "die":
		syscall.Exit(3)
	case "mute":
		forever()
	case "deaf":
		_ = ready.Close()
		forever()
	case "polite":
		_ = ready.Close()
		<-term
		write(out+".term", "bye")
	case "copy":
		if _, err := ready.Write([]byte{1}); err != nil {
			panic(err)
		}
		fallthrough
	case "eof":
		_ = ready.Close()
		write(out+".env", strings.Join(os.Environ(), "\n"))
		save(out)
	}
	syscall.Exit(0) // os.Exit takes a second under the race detector
}

func forever() {
	for {
		time.Sleep(time.Hour)
	}
}

func save(out string) {
	var wg sync.WaitGroup
	for fd, name := range map[uintptr]string{3: out + ".1", 4: out + ".2"} {
		wg.Go(func() {
			data, err := io.ReadAll(os.NewFile(fd, name))
			if err != nil {
				panic(err)
			}
			write(name, string(data))
		})
	}
	wg.Wait()
}

func write(path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		panic(err)
	}
}
