package coordination

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Put writes data to a persistent record whatever is there, and creates it
// where it does not exist: the last writer wins. It fails as Commit does, but
// never with a conflict of its own making.
func Put(ctx context.Context, s Store, path string, data []byte) error {
	for {
		err := s.Commit(ctx, Set(path, data, AnyVersion))
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		err = s.Commit(ctx, Create(path, data))
		if !errors.Is(err, ErrExists) {
			return err
		}
	}
}

// DeleteTree removes a record and everything below it, children first, and
// repeats while others add to it. It is not atomic: a failure leaves some of it,
// and calling it again goes on. A path without a record is no error.
func DeleteTree(ctx context.Context, s Store, path string) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	for {
		ops, err := subtree(ctx, s, path, nil)
		if err != nil {
			return fmt.Errorf("delete tree %s: %w", path, err)
		}
		err = commitAll(ctx, s, ops)
		if err == nil {
			return nil
		}
		// A child that came or went meanwhile asks for another look.
		if !errors.Is(err, ErrNotEmpty) && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("delete tree %s: %w", path, err)
		}
		if _, err := s.Get(ctx, path); errors.Is(err, ErrNotFound) {
			return nil
		} else if err != nil {
			return fmt.Errorf("delete tree %s: %w", path, err)
		}
	}
}

// subtree appends the deletion of path and what lies below it, deepest first.
func subtree(ctx context.Context, r Reader, path string, ops []Op) ([]Op, error) {
	names, err := r.Children(ctx, path)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if ops, err = subtree(ctx, r, path+"/"+n, ops); err != nil {
			return nil, err
		}
	}
	return append(ops, Delete(path, AnyVersion)), nil
}

// commitAll commits ops in order, in as few commits as the limit allows.
func commitAll(ctx context.Context, s Store, ops []Op) error {
	const perCommit = MaxCommit / (MaxPath + opOverhead)
	for chunk := range slices.Chunk(ops, perCommit) {
		if err := s.Commit(ctx, chunk...); err != nil {
			return err
		}
	}
	return nil
}
