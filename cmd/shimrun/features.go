package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"example.io/shim/linux/features"
)

var featuresCommand = command{
	name: "features", args: "", max: 0,
	short: "print what this runtime can do",
	long:  "The output is the features document of the runtime specification.",
	setup: func(a *app, _ *pflag.FlagSet) func([]string) error {
		return func([]string) error {
			data, err := features.JSON(version)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "%s\n", data)
			return err
		}
	},
}
