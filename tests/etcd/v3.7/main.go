// Etcd, etcdctl and etcdutl of one release in one program, told apart by the name it is called by.
//
// The project publishes these three as Go modules but no package registry carries their binaries, so
// the tests build them from source. One program rather than three: the server is most of each, and it
// is linked once.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/etcdctl/v3/ctlv3"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "etcdctl":
		ctlv3.MustStart()
	case "etcdutl":
		os.Exit(startEtcdutl())
	default:
		fmt.Fprintf(os.Stderr, "called as %q: neither etcd nor etcdctl nor etcdutl\n", name)
		os.Exit(2)
	}
}
