//! Nothing: the archive that libfuzzer-sys builds is what `.ci/fuzz` is after.
