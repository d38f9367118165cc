package daemon

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Image is the name of the image that every test uses.
const Image = "shim.test/busybox:1"

const busybox = "/bin/busybox" // Debian's busybox-static

// imageArchive makes an OCI image layout, as a tar, of busybox with all its applets.
func imageArchive() ([]byte, error) {
	layer, err := layerTar()
	if err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	blobs := map[string][]byte{}
	blob := func(mediaType string, data []byte) map[string]any {
		digest := fmt.Sprintf("%x", sha256.Sum256(data))
		blobs["blobs/sha256/"+digest] = data
		return map[string]any{"mediaType": mediaType, "digest": "sha256:" + digest, "size": len(data)}
	}
	document := func(v any) []byte {
		data, jsonErr := json.Marshal(v)
		if jsonErr != nil {
			err = jsonErr
		}
		return data
	}
	l := blob("application/vnd.oci.image.layer.v1.tar", layer)
	config := blob("application/vnd.oci.image.config.v1+json", document(map[string]any{
		"architecture": goarch(), "os": "linux", "config": map[string]any{"Env": []string{"PATH=/bin"}, "Cmd": []string{"sh"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []any{l["digest"]}},
	}))
	manifest := blob("application/vnd.oci.image.manifest.v1+json", document(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []any{l},
	}))
	manifest["annotations"] = map[string]string{"io.containerd.image.name": Image, "org.opencontainers.image.ref.name": "1"}
	blobs["index.json"] = document(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}})
	blobs["oci-layout"] = []byte(`{"imageLayoutVersion":"1.0.0"}`)
	if err != nil {
		return nil, err
	}
	return tarOf(func(add func(h tar.Header, data []byte)) {
		for name, data := range blobs {
			add(tar.Header{Name: name, Mode: 0o644}, data)
		}
	})
}

func layerTar() ([]byte, error) {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, err
	}
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, err
	}
	return tarOf(func(add func(h tar.Header, data []byte)) {
		for _, dir := range []string{"bin", "etc", "tmp", "root", "dev", "proc", "sys", "run", "home/user"} {
			add(tar.Header{Name: dir + "/", Mode: 0o755, Typeflag: tar.TypeDir}, nil)
		}
		add(tar.Header{Name: "bin/busybox", Mode: 0o755}, program)
		for a := range strings.FieldsSeq(string(applets)) {
			if a != "busybox" {
				add(tar.Header{Name: "bin/" + a, Linkname: "busybox", Typeflag: tar.TypeSymlink}, nil)
			}
		}
		add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"))
		add(tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nuser:x:1000:\n"))
	})
}

func tarOf(fill func(add func(h tar.Header, data []byte))) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	var err error
	fill(func(h tar.Header, data []byte) {
		h.Size = int64(len(data))
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if e := w.WriteHeader(&h); e != nil && err == nil {
			err = e
		}
		if _, e := w.Write(data); e != nil && err == nil {
			err = e
		}
	})
	if e := w.Close(); err == nil {
		err = e
	}
	return buf.Bytes(), err
}
