//! The manifests of the lake, as data.
