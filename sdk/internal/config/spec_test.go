package config_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk/internal/config"
)

type node struct {
	Children []node `weir:"children"`
}

func TestABadTagNamesTheField(t *testing.T) {
	type nested struct {
		Bad int `weir:"bad" default:"x"`
	}
	for _, c := range []struct {
		name string
		cfg  any
		want string
	}{
		{"no struct", 1, "a configuration is a struct, not int"},
		{"no tag", struct{ A int }{}, ".A: has no `weir` tag"},
		{"not exported", struct {
			a int `weir:"a"`
		}{}, ".a: has a `weir` tag but is not exported"},
		{"bad name", struct {
			A int `weir:"A b"`
		}{}, `.A: the name "A b"`},
		{"unknown flag", struct {
			A int `weir:"a,optional"`
		}{}, `.A: unknown flag "optional"`},
		{"name twice", struct {
			A int `weir:"a"`
			B int `weir:"a"`
		}{}, `.B: has the name "a", as .A has`},
		{"default of another type", struct {
			A int `weir:"a" default:"x"`
		}{}, `.A: default "x": expected an integer, got the string "x"`},
		{"default out of range", struct {
			A int `weir:"a" default:"5" max:"4"`
		}{}, `.A: default "5": must be at most 4, got 5`},
		{"default outside the enum", struct {
			A string `weir:"a" default:"c" enum:"a,b"`
		}{}, `.A: default "c": must be one of "a", "b"`},
		{"default and required", struct {
			A int `weir:"a,required" default:"1"`
		}{}, `.A: is required and has a default`},
		{"default in a group", struct {
			A int `weir:"a" default:"1" xor:"g"`
			B int `weir:"b" xor:"g"`
		}{}, `.A: excludes other fields (xor) and has a default`},
		{"default of a secret", struct {
			A secret `weir:"a" default:"1"`
		}{}, `.A: is secret and has a default`},
		{"min of a string", struct {
			A string `weir:"a" min:"1"`
		}{}, `.A: min and max are for numbers`},
		{"min that is no number", struct {
			A int `weir:"a" min:"x"`
		}{}, `.A: min: expected an integer, got "x"`},
		{"min above max", struct {
			A int `weir:"a" min:"2" max:"1"`
		}{}, `.A: min 2 is above max 1`},
		{"pattern that does not compile", struct {
			A string `weir:"a" pattern:"("`
		}{}, `.A: pattern: error parsing regexp`},
		{"enum of a number", struct {
			A int `weir:"a" enum:"1,2"`
		}{}, `.A: enum and pattern are for strings`},
		{"alone in a group", struct {
			A int `weir:"a" xor:"g"`
		}{}, `.A: is alone in the group xor:"g"`},
		{"type that JSON has not", struct {
			A chan int `weir:"a"`
		}{}, `.A: a configuration cannot hold chan int`},
		{"bytes", struct {
			A []byte `weir:"a"`
		}{}, `.A: a configuration holds text as string`},
		{"list of lists", struct {
			A [][]int `weir:"a"`
		}{}, `.A: [][]int: lists and maps cannot be nested`},
		{"map by number", struct {
			A map[int]string `weir:"a"`
		}{}, `.A: a map's keys are strings, not int`},
		{"embedded pointer", struct{ *time.Location }{}, `.Location: only a struct by value may be embedded`},
		{"struct that contains itself", node{}, `node.Children: config_test.node contains itself`},
		{"inside a nested struct", struct {
			N []nested `weir:"n"`
		}{}, `.N.Bad: default "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.New(reflect.TypeOf(c.cfg), testScalars())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("\n got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestAllBadTagsAreToldAtOnce(t *testing.T) {
	_, err := config.New(reflect.TypeFor[struct {
		A chan int `weir:"a"`
		B int
		C int `weir:"c" min:"x"`
	}](), nil)
	if got := strings.Count(err.Error(), "\n"); got != 2 {
		t.Errorf("got %v", err)
	}
}

func TestVisitFindsEachSoundStruct(t *testing.T) {
	s := newSpec(t, full{})
	in := full{Other: &endpoint{Host: "o"}, List: []endpoint{{Host: "a"}, {Host: "B"}}, Map: map[string]endpoint{"x": {}, "w": {}}}
	faults, _ := s.Decode([]byte(`{"path": "p", "main": {"host": "h"}, "list": [{"host": "a"}, {"host": "B"}]}`), nil, new(full))
	var got []string
	s.Visit(&in, faults, func(path string, structure any) { got = append(got, path) })
	want := []string{"main", "other", "list[0]", "map.w", "map.x"} // list[1] is faulty, and so is the whole
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
