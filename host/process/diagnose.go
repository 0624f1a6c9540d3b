package process

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/hashicorp/go-plugin"
)

// Program finds the program and checks what can be seen without running it; its
// error is a *[StartError].
func (c Command) Program() (string, error) {
	fail := func(path string, reason error, format string, args ...any) (string, error) {
		return "", &StartError{Plugin: c.Name, Path: path, Reason: reason, Detail: fmt.Sprintf(format, args...)}
	}
	if len(c.Args) == 0 || c.Args[0] == "" {
		return fail("", ErrNotFound, "its command is empty")
	}
	path := c.Args[0]
	if filepath.Base(path) == path {
		found, err := exec.LookPath(path)
		if err != nil {
			return fail(path, ErrNotFound, "%s is not on the PATH", path)
		}
		path = found
	}
	if !filepath.IsAbs(path) {
		dir, err := filepath.Abs(c.Dir)
		if err != nil {
			return fail(path, err, "the working folder cannot be told: %v", err)
		}
		path = filepath.Join(dir, path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(path, ErrNotFound, "%s does not exist: build it, or correct the path", path)
	case err != nil:
		return fail(path, err, "%v", err)
	case info.IsDir():
		return fail(path, ErrNotExecutable, "%s is a folder: name the program in it", path)
	case !mayRun(info.Mode()):
		return fail(path, ErrNotExecutable, "%s is not executable (mode %s): chmod +x it", path, info.Mode())
	}
	return path, nil
}

// verify checks the command's checksums. Each is made anew: go-plugin's
// SecureConfig never resets the hash that it is given.
func (c Command) verify(program string) error {
	for _, sum := range c.Checksums {
		path := sum.Path
		if path == "" {
			path = program
		} else if !filepath.IsAbs(path) {
			path = filepath.Join(c.Dir, path)
		}
		fail := func(reason error, format string, args ...any) error {
			return &StartError{Plugin: c.Name, Path: path, Reason: reason, Detail: fmt.Sprintf(format, args...)}
		}
		want, err := hex.DecodeString(strings.TrimSpace(sum.SHA256))
		if err != nil || len(want) != sha256.Size {
			return fail(ErrChecksum, "the checksum %q is not a SHA-256 in hexadecimal", sum.SHA256)
		}
		secure := plugin.SecureConfig{Checksum: want, Hash: sha256.New()}
		same, err := secure.Check(path)
		if err != nil {
			return fail(err, "the checksum of %s cannot be checked: %v", path, err)
		}
		if !same {
			is, err := SumFile(path)
			if err != nil {
				return fail(err, "the checksum of %s cannot be checked: %v", path, err)
			}
			return fail(ErrChecksum, "%s is not the file that was asked for: its sha256 is %s, not %x (if the change is meant, say so with `weir plugin lock FILE`, or with sha256 where the plugin is declared)", path, is, want)
		}
	}
	return nil
}

// SumFile returns the SHA-256 of a file in lower-case hex.
func SumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// exec is the command to run path with, without what go-plugin adds.
func (c Command) exec(path string) *exec.Cmd {
	cmd := &exec.Cmd{Path: path, Args: slices.Clone(c.Args), Dir: c.Dir, Env: BaseEnv()}
	for name, value := range c.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// diagnose explains why the system did not run a program that is there.
func (p *Process) diagnose(err error) *StartError {
	head := make([]byte, 256)
	f, openErr := os.Open(p.path)
	if openErr == nil {
		n, _ := io.ReadFull(f, head)
		head = head[:n]
		_ = f.Close()
	}
	shebang, isScript := bytes.CutPrefix(head, []byte("#!"))
	interpreter, _, _ := strings.Cut(strings.TrimSpace(string(shebang)), "\n")
	machine, here := builtFor(p.path), runtime.GOOS+"/"+runtime.GOARCH
	switch {
	case machine != "" && machine != here:
		return p.failed(ErrArchitecture, fmt.Sprintf("was built for %s and this host is %s", machine, here))
	case errors.Is(err, fs.ErrNotExist) && isScript:
		return p.failed(ErrNotFound, fmt.Sprintf("is a script whose interpreter %q does not exist", interpreter))
	case errors.Is(err, fs.ErrNotExist):
		return p.failed(ErrNotFound, "needs a dynamic loader that does not exist here: build it statically (CGO_ENABLED=0), or for this system's C library")
	case errors.Is(err, syscall.ENOEXEC) || machine == "" && !isScript && openErr == nil && !errors.Is(err, fs.ErrPermission):
		return p.failed(ErrNotExecutable, "is neither a program nor a script that begins with #!")
	case errors.Is(err, fs.ErrPermission):
		return p.failed(ErrNotExecutable, fmt.Sprintf("may not be run by this user, or lies where nothing may be run: %v", err))
	}
	return p.failed(err, fmt.Sprintf("cannot be run: %v", err))
}

// builtFor is the system and processor that a program was built for, in Go's
// words where it has one; empty where the file is no program of a known form.
func builtFor(path string) string {
	if f, err := elf.Open(path); err == nil {
		defer func() { _ = f.Close() }()
		arch := map[elf.Machine]string{
			elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm",
			elf.EM_RISCV: "riscv64", elf.EM_S390: "s390x", elf.EM_LOONGARCH: "loong64",
		}[f.Machine]
		if f.Machine == elf.EM_PPC64 {
			arch = "ppc64le"
			if f.Data == elf.ELFDATA2MSB {
				arch = "ppc64"
			}
		}
		if arch == "" {
			arch = f.Machine.String()
		}
		// Other systems use the same form: only the processor is told for sure.
		if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
			return "linux/" + arch
		}
		return runtime.GOOS + "/" + arch
	}
	if f, err := macho.Open(path); err == nil {
		defer func() { _ = f.Close() }()
		return "darwin/" + map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}[f.Cpu]
	}
	if f, err := pe.Open(path); err == nil {
		defer func() { _ = f.Close() }()
		return "windows/" + map[uint16]string{
			pe.IMAGE_FILE_MACHINE_AMD64: "amd64", pe.IMAGE_FILE_MACHINE_ARM64: "arm64", pe.IMAGE_FILE_MACHINE_I386: "386",
		}[f.Machine]
	}
	return ""
}
