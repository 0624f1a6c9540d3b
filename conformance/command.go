package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/weirstream/weir/conformance/spec"
	"github.com/weirstream/weir/host/process"
)

// maxOutput bounds what a command may print.
const maxOutput = 256 << 20

// command runs a command of conformance.yaml. The error says what to do.
func (t *T) command(what string, c spec.Command, in []byte, env map[string]string, timeout time.Duration) ([]byte, error) {
	if timeout == 0 {
		timeout = t.kit.file(t).CommandTimeout
	}
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c[0], c[1:]...)
	own(cmd)
	cmd.Cancel = func() error { return endGroup(cmd) }
	cmd.WaitDelay = time.Second
	cmd.Dir = t.kit.dir
	cmd.Env = append(process.BaseEnv(), "CASE_ID="+t.CaseID, "TMP="+t.TMP)
	if t.entry.Config.Value != nil {
		cmd.Env = append(cmd.Env, "CONFIG="+string(t.Member().Config))
	}
	for name, value := range t.kit.file(t).Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out := &bounded{}
	said := &bounded{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), out, said
	err := cmd.Run()
	hint := ""
	if s := strings.TrimSpace(said.String()); s != "" {
		if lines := strings.Split(s, "\n"); len(lines) > 20 {
			s = strings.Join(lines[len(lines)-20:], "\n")
		}
		hint = "; it said:\n    " + strings.ReplaceAll(s, "\n", "\n    ")
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out.Bytes(), nil
	case t.ctx.Err() != nil:
		return nil, fmt.Errorf("the %s command was still running when the case's time was over%s", what, hint)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("the %s command did not end within %v: mend it, or give it more with `timeouts.command`%s", what, timeout, hint)
	case errors.As(err, &exit):
		return nil, fmt.Errorf("the %s command failed: %v: try it by hand, in %s, with CASE_ID and TMP set%s", what, exit, t.kit.dir, hint)
	}
	return nil, fmt.Errorf("the %s command cannot be run: %v", what, err)
}

// bounded is a buffer that takes only so much.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxOutput {
		return 0, fmt.Errorf("more than %d bytes of output", maxOutput)
	}
	return b.Buffer.Write(p)
}
