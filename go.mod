module example.io/shim

go 1.26.0

require (
	github.com/checkpoint-restore/go-criu/v8 v8.3.0
	github.com/containerd/errdefs v1.0.0
	github.com/opencontainers/runtime-spec v1.3.0
	github.com/spf13/pflag v1.1.0
	golang.org/x/sys v0.49.0
)

require github.com/aperturerobotics/protobuf-go-lite v0.14.0 // indirect
