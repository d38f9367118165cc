package files

import "strings"

// noIOMax is what a device has without a line in io.max.
const noIOMax = "rbps=max wbps=max riops=max wiops=max"

// Complete returns the value of w that is to be written to a living cgroup. content is what the file has now, of which KeepFirst takes a word.
func (w Write) Complete(content string) string {
	if w.Live != KeepFirst {
		return w.Value
	}
	first, _, _ := strings.Cut(strings.TrimSpace(content), " ")
	_, rest, _ := strings.Cut(w.Value, " ")
	return first + " " + rest
}

// Former returns what is to be written to take w back in a cgroup whose file had that content.
func (w Write) Former(content string) string {
	content = strings.TrimSpace(content)
	name, _, ok := strings.Cut(w.Value, " ")
	switch w.File {
	case "io.max", "io.latency", "io.weight", "io.bfq.weight", "rdma.max", "misc.max":
	default:
		if content == "" {
			return "\n" // an empty list; a write of no bytes does not reach the kernel's file
		}
		return content
	}
	// A file with a line for each device, and a write of one line.
	if !ok {
		name = "default" // the number alone
	}
	for line := range strings.Lines(content) {
		if strings.HasPrefix(line, name+" ") {
			return strings.TrimSpace(line)
		}
	}
	switch w.File {
	case "io.max":
		return name + " " + noIOMax
	case "io.weight", "io.bfq.weight":
		if name == "default" {
			return content // an older kernel prints the number alone
		}
		return name + " default"
	case "io.latency":
		return name + " target=0"
	case "misc.max":
		return name + " max"
	}
	return name + " hca_handle=max hca_object=max"
}
