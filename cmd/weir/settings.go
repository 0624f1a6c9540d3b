package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"
)

// otherwise fills in flags that were not given: from variables, as in
// PREFIX_LOG_LEVEL for --log-level, and from the file that --config names.
func otherwise(flags *pflag.FlagSet, prefix string) error {
	variable := func(f *pflag.Flag) string {
		return prefix + "_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
	}
	config := flags.Lookup("config")
	if v, ok := os.LookupEnv(variable(config)); ok && !config.Changed {
		if err := config.Value.Set(v); err != nil {
			return err
		}
	}
	file := config.Value.String()
	fields, err := readSettings(file, flags)
	if err != nil {
		return err
	}
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "config" || f.Name == "help" {
			return
		}
		if v, ok := os.LookupEnv(variable(f)); ok {
			if err := f.Value.Set(v); err != nil {
				errs = append(errs, fmt.Errorf("variable %s: %w", variable(f), err))
			}
			return
		}
		if v, ok := fields[f.Name]; ok {
			if err := f.Value.Set(v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", file, f.Name, err))
			}
		}
	})
	return errors.Join(errs...)
}

// readSettings reads a file whose fields are names of flags; lists stand for values
// that are separated by commas.
func readSettings(file string, flags *pflag.FlagSet) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	var raw map[string]any
	if err := yaml.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("--config %s: %s", file, yaml.FormatError(err, false, true))
	}
	fields := map[string]string{}
	var unknown []string
	for name, v := range raw {
		if f := flags.Lookup(name); f == nil || name == "config" || name == "help" {
			unknown = append(unknown, name)
			continue
		}
		if list, ok := v.([]any); ok {
			var parts []string
			for _, p := range list {
				parts = append(parts, fmt.Sprint(p))
			}
			fields[name] = strings.Join(parts, ",")
			continue
		}
		fields[name] = fmt.Sprint(v)
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, fmt.Errorf("--config %s: there is no %s; the fields are the flags without dashes", file, strings.Join(unknown, ", "))
	}
	return fields, nil
}
