package sdk_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// allowedModules is everything that an author's binary contains beside the
// standard library: grpc, protobuf, go-plugin and what they need.
var allowedModules = []string{
	"github.com/fatih/color",
	"github.com/golang/protobuf",
	"github.com/hashicorp/go-hclog",
	"github.com/hashicorp/go-plugin",
	"github.com/hashicorp/yamux",
	"github.com/mattn/go-colorable",
	"github.com/mattn/go-isatty",
	"github.com/oklog/run",
	"github.com/twmb/murmur3",
	"github.com/weirstream/weir",
	"golang.org/x/net",
	"golang.org/x/sys",
	"golang.org/x/text",
	"google.golang.org/genproto/googleapis/rpc",
	"google.golang.org/grpc",
	"google.golang.org/protobuf",
}

// allowedPackages is what the SDK takes from this module.
var allowedPackages = []string{
	"github.com/weirstream/weir/proto/keygroup",
	"github.com/weirstream/weir/proto/policy",
	"github.com/weirstream/weir/proto/weir/plugin/v1",
	"github.com/weirstream/weir/proto/policy",
	"github.com/weirstream/weir/proto/wire",
	"github.com/weirstream/weir/sdk",
	"github.com/weirstream/weir/sdk/internal/config",
	"github.com/weirstream/weir/sdk/internal/eventtime",
	"github.com/weirstream/weir/sdk/internal/serve",
	"github.com/weirstream/weir/sdk/internal/state",
	"github.com/weirstream/weir/sdk/internal/task",
	"github.com/weirstream/weir/sdk/testdata/trivial",
}

const trivial = "./testdata/trivial"

func TestAnAuthorImportsLittle(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		list := run(t, []string{"GOOS=" + goos}, "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}} {{.ImportPath}}", trivial)
		var modules []string
		for line := range strings.Lines(list) {
			module, pkg, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			switch {
			case module == "":
			case !slices.Contains(allowedModules, module):
				t.Errorf("%s: module %s is new in an author's binary, for package %s", goos, module, pkg)
			case module == "github.com/weirstream/weir" && !slices.Contains(allowedPackages, pkg):
				t.Errorf("%s: the SDK imports %s", goos, pkg)
			}
			modules = append(modules, module)
		}
		if !slices.Contains(modules, "google.golang.org/grpc") {
			t.Fatalf("%s: the list is not that of a plugin:\n%s", goos, list)
		}
	}
}

func TestATrivialPluginIsSmall(t *testing.T) {
	const maxLines, maxBytes = 40, 16_000_000
	source, err := os.ReadFile(filepath.Join(trivial, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(source, []byte("\n")); lines >= maxLines {
		t.Errorf("%d lines of source, the most is %d", lines, maxLines-1)
	}
	binary := filepath.Join(t.TempDir(), "weir-plugin-trivial")
	run(t, nil, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, trivial)
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes on %s/%s", info.Size(), runtime.GOOS, runtime.GOARCH)
	if info.Size() >= maxBytes {
		t.Errorf("%d bytes, the most is %d", info.Size(), maxBytes-1)
	}
}

func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}
