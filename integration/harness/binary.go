package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// BinaryEnv names a built server binary to test; without it ./cmd/chronos is built once.
const BinaryEnv = "CHRONOS_BIN"

var build = sync.OnceValues(buildBinary)

// Binary returns the path of the server binary, building it at the first call. The build lives in
// a temporary folder that RemoveBinary deletes.
func Binary() (string, error) {
	if path := os.Getenv(BinaryEnv); path != "" {
		return filepath.Abs(path)
	}
	return build()
}

// RemoveBinary deletes what Binary built, if it built anything. Call it last, from TestMain.
func RemoveBinary() error {
	return os.RemoveAll(buildDir())
}

// buildDir is one folder a process, so that two test binaries never run each other's build.
func buildDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("chronos-build-%d", os.Getpid()))
}

func buildBinary() (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(buildDir(), "chronos")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/chronos")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build ./cmd/chronos in %s: %w\n%s", root, err, out)
	}
	return path, nil
}

// ModuleRoot walks up from the working directory to the folder whose go.mod is the server's: the
// tests run in their own folders, at different depths.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		first, _, _ := strings.Cut(string(mod), "\n")
		if err == nil && strings.TrimSpace(first) == "module github.com/chronosdb/chronosdb" {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod of github.com/chronosdb/chronosdb above the " +
				"working directory; set " + BinaryEnv + " to a built binary")
		}
		dir = parent
	}
}
