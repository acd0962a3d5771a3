package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"go.etcd.io/etcd/etcdutl/v3/etcdutl"
)

// startEtcdutl puts together the commands as etcdutl's own package main does, which cannot be imported.
func startEtcdutl() int {
	root := &cobra.Command{Use: "etcdutl", SilenceUsage: true, SilenceErrors: true}
	root.PersistentFlags().StringVarP(
		&etcdutl.OutputFormat, "write-out", "w", "simple", "the output format (fields, json, protobuf, simple, table)")
	root.PersistentFlags().DurationVar(
		&etcdutl.FlockTimeout, "timeout", 10*time.Second, "how long to wait for the lock on a db file, 0: for ever")
	root.AddCommand(
		etcdutl.NewDefragCommand(),
		etcdutl.NewSnapshotCommand(),
		etcdutl.NewHashKVCommand(),
		etcdutl.NewVersionCommand(),
		etcdutl.NewMigrateCommand(),
	)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		return 1
	}
	return 0
}
