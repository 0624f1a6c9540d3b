package keygroup

import "testing"

// The hash is murmur3 x86 32 bit with seed 0, as other implementations have it.
func TestKeyGroupsAreThoseOfMurmur3(t *testing.T) {
	for key, hash := range map[string]uint32{
		"": 0, "test": 0xba6bd213, "Hello, world!": 0xc0363e43,
		"The quick brown fox jumps over the lazy dog": 0x2e4ff723,
	} {
		if got, want := Of([]byte(key), 1<<30), int(hash%(1<<30)); got != want {
			t.Errorf("group of %q is %d, want %d", key, got, want)
		}
	}
}

func TestEveryKeyGroupHasOneOwner(t *testing.T) {
	for _, groups := range []int{1, 7, 128, 1000} {
		for parallelism := 1; parallelism <= min(groups, 130); parallelism++ {
			next := 0
			for task := range parallelism {
				first, last := Range(task, groups, parallelism)
				if first != next || last < first {
					t.Fatalf("task %d of %d owns %d to %d of %d, want from %d", task, parallelism, first, last, groups, next)
				}
				for g := first; g <= last; g++ {
					if Owner(g, groups, parallelism) != task {
						t.Fatalf("group %d belongs to task %d", g, task)
					}
				}
				next = last + 1
			}
			if next != groups {
				t.Fatalf("%d of %d groups have an owner", next, groups)
			}
		}
	}
}
