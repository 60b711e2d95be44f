//! The `cephwire` command.

fn main() {}
