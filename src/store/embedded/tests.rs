//! Tests of what only the store on the disk does.
