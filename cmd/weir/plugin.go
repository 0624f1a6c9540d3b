package main

import (
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/pipeline"
)

func newPlugin() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "What is installed, what a component takes, how to write and test one",
	}
	cmd.AddCommand(newPluginList(), newPluginDescribe(), newPluginNew(), newPluginTest(), newPluginLock())
	return cmd
}

// pipelineFlag adds --pipeline.
func pipelineFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "pipeline", "", "a pipeline file: know the plugins that it declares, and look beside it")
}

// declared are the plugins that a pipeline file declares; of no file, none.
func declared(file string) ([]pipeline.Plugin, error) {
	if file == "" {
		return nil, nil
	}
	plugins, report := pipeline.Declared(file, pipeline.Options{})
	if !report.OK() {
		return nil, badInput(report.Err())
	}
	return plugins, nil
}
