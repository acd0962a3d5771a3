"""Second opinions: readers written independently of the Rust core, and comparisons with etcd's own tools."""
