package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Visit calls visit with a pointer to each struct of a decoded configuration and
// its path: inner ones first, the configuration itself last. Structs with a fault
// in them, as far as faults tells, are left out.
func (s *Spec) Visit(root any, faults []*pluginv1.Fault, visit func(path string, structure any)) {
	w := walker{faults, visit}
	w.object(s.root, reflect.ValueOf(root).Elem(), "")
}

type walker struct {
	faults []*pluginv1.Fault
	visit  func(path string, structure any)
}

func (w walker) object(o *object, v reflect.Value, path string) {
	for _, f := range o.fields {
		w.value(f.value, v.FieldByIndex(f.index), join(path, f.name))
	}
	if w.sound(path) {
		w.visit(path, v.Addr().Interface())
	}
}

func (w walker) value(t *value, v reflect.Value, path string) {
	if t.pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	switch {
	case t.object != nil:
		w.object(t.object, v, path)
	case t.element == nil || t.element.object == nil:
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			w.value(t.element, v.Index(i), path+"["+strconv.Itoa(i)+"]")
		}
	default:
		for _, key := range sortedKeys(v) {
			// A map's element has no address of its own.
			element := reflect.New(v.Type().Elem()).Elem()
			element.Set(v.MapIndex(key))
			w.value(t.element, element, join(path, key.String()))
		}
	}
}

func (w walker) sound(path string) bool {
	for _, f := range w.faults {
		if !f.Warning && (path == "" || f.Path == path || within(f.Path, path)) {
			return false
		}
	}
	return true
}

func sortedKeys(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return keys
}
