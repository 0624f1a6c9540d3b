package expr

import (
	"errors"

	"github.com/weirstream/weir/plugins/internal/expression"
	"github.com/weirstream/weir/sdk"
)

// Filter compiles a condition on a record for those who look at records outside of a
// pipeline. Where the condition reads json and the value is none, it does not hold.
// What it returns is not safe for concurrent use. The record's value and key are nil
// where they are null.
func Filter(condition string) (func(sdk.Row) (bool, error), error) {
	p, faults := expression.Compile(sdk.Expr{Source: condition}, "bool")
	if len(faults) > 0 {
		var errs []error
		for _, f := range faults {
			errs = append(errs, &f)
		}
		return nil, errors.Join(errs...)
	}
	if p.Uses().Item {
		return nil, errors.New("item is known beside each alone")
	}
	return func(r sdk.Row) (bool, error) {
		env := expression.Env{Value: text(r.Value), Key: text(r.Key), Headers: map[string]any{}}
		if !r.Time.IsZero() {
			env.Timestamp = int(r.Time.UnixMilli())
		}
		for name, value := range r.Headers.All() {
			env.Headers[name] = text(value)
		}
		if p.Uses().JSON && r.Value != nil {
			v, err := expression.ReadJSON(r.Value)
			if err != nil {
				return false, nil
			}
			env.JSON = v
		}
		return p.Bool(&env)
	}, nil
}

func text(b []byte) any {
	if b == nil {
		return nil
	}
	return string(b)
}
