package sdk

import (
	"context"
	"fmt"
	"reflect"
)

// hasWriterState reports whether a type is a WriterState of some W. Which W is
// nobody's affair but the author's, so that reflection looks for the method.
func hasWriterState(t reflect.Type) (bool, error) {
	m, ok := t.MethodByName("WriterState")
	if !ok {
		return false, nil
	}
	// A method of a concrete type has its receiver as the first parameter.
	in := m.Type.NumIn() - 1
	if t.Kind() == reflect.Interface {
		in++
	}
	if in != 1 || m.Type.In(m.Type.NumIn()-1) != reflect.TypeFor[context.Context]() ||
		m.Type.NumOut() != 2 || m.Type.Out(0).Kind() != reflect.Slice || m.Type.Out(1) != reflect.TypeFor[error]() {
		return false, fmt.Errorf("WriterState is %s, not func(context.Context) ([]W, error)", m.Type)
	}
	return true, nil
}

// callWriterState calls the method that hasWriterState found.
func callWriterState(ctx context.Context, sink any) ([]any, error) {
	out := reflect.ValueOf(sink).MethodByName("WriterState").Call([]reflect.Value{reflect.ValueOf(ctx)})
	if err, _ := out[1].Interface().(error); err != nil {
		return nil, err
	}
	state := make([]any, out[0].Len())
	for i := range state {
		state[i] = out[0].Index(i).Interface()
	}
	return state, nil
}
