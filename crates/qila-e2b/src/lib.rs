//! The API that E2B's SDKs speak: control plane, envd and code interpreter, over a node.
#![forbid(unsafe_code)]
