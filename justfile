# `just` lists these; each is a command one can also type.

_default:
    @just --list --unsorted

# Exactly what CI runs.
check:
    .ci/run

# Write generated files anew (JSON Schema), as their tests compare them.
generate:
    UPDATE_GOLDEN=1 cargo test --package fairway-config --test schema

# Write expected outputs of translation tests anew; read the difference before you commit it.
golden:
    UPDATE_GOLDEN=1 cargo test --package fairway-controller
    git diff --stat

# The official Gateway API suite on the testbed, which must be up (docs/testbed.md).
conformance *args:
    conformance/testbed suite {{ args }}

# Fairway beside its peers under the same load.
load *args:
    cargo run --release --package loadtests -- compare {{ args }}

# From file save to first served request.
propagate *args:
    cargo run --release --package loadtests -- propagate {{ args }}
