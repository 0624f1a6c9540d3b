package sdk_test

import (
	"fmt"
	"slices"
	"testing"
)

// inTest runs an example's steps as a test would, with its cleanups at the end.
func inTest(steps func(t testing.TB)) {
	t := &exampleTB{}
	steps(t)
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}

type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (t *exampleTB) Helper()             {}
func (t *exampleTB) Failed() bool        { return false }
func (t *exampleTB) Cleanup(f func())    { t.cleanups = append(t.cleanups, f) }
func (t *exampleTB) Log(...any)          {}
func (t *exampleTB) Logf(string, ...any) {}
func (t *exampleTB) Errorf(format string, args ...any) {
	fmt.Println("error:", fmt.Sprintf(format, args...))
}
func (t *exampleTB) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (t *exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
