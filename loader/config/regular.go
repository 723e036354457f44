package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const maxPEM = 1 << 20 // bytes

// readRegular reads a file of at most so many bytes, and nothing that could
// block.
func readRegular(name string, most int) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is not a regular file", name))
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%s is larger than %s", name, writeSize(int64(most)))
	}
	return data, err
}

// readPEM reads a small file. Its errors continue a sentence that begins with
// the file's name.
func readPEM(name string) (string, error) {
	if !filepath.IsAbs(name) {
		return "", errors.New("is not an absolute path")
	}
	text, err := readRegular(name, maxPEM)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	return string(text), nil
}

// readCA is readPEM for certificates.
func readCA(name string) (string, error) {
	text, err := readPEM(name)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM([]byte(text)) {
		err = errors.New("has no PEM certificate")
	}
	return text, err
}
