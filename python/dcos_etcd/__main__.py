"""`python -m dcos_etcd`: the same as `dcos-etcdctl`."""

import sys

from dcos_etcd.cli import main

if __name__ == "__main__":
    sys.exit(main())
