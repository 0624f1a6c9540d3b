// Package sdktest tests a component in memory, without a host or a process. It
// runs the component in the SDK's own task runtime, so that a test sees what a
// pipeline would: batches, barriers, failed records, retries, positions as JSON,
// commits and sweeps.
//
//	func TestPrefix(t *testing.T) {
//		op := sdktest.NewOperator(t, prefix.Component(), `{"prefix": "x-"}`)
//		got := op.Process(sdktest.Values("a", "b")...)
//		if !slices.Equal(sdktest.ValuesOf(got.Out), []string{"x-a", "x-b"}) {
//			t.Errorf("got %v", got.Out)
//		}
//	}
//
// Every buffer that a component is given is overwritten after the call, so that a
// component that keeps a key, a value or a buffer too long shows wrong bytes
// ("\xdb\xdb...") in its test. A batch that is held and never released fails the
// test at its end.
//
// A harness belongs to one goroutine, is closed when the test ends, and ends the
// test when a call does not return within ten seconds. A configuration is JSON text
// or any value that marshals to it; nil is an empty one.
package sdktest
